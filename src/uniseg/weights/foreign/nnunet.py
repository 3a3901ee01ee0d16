"""Import of nnU-Net v2's networks, whole from its checkpoints, the encoder alone from nnssl's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path

from torch import Tensor

from uniseg.datasets.dataset_json import task_name
from uniseg.errors import InputError
from uniseg.models.conditioning.none import NoConditioning
from uniseg.models.decoder import Decoder
from uniseg.models.encoders.base import Encoder
from uniseg.models.encoders.resenc import ResidualEncoder
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.normalization.base import Normalization
from uniseg.normalization.fingerprint import Fingerprint
from uniseg.normalization.zscore import ZScore
from uniseg.task import Task, TaskSet
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.description import require_facts, require_patch_size
from uniseg.weights.foreign.nnunet_names import count_tensors, translate_all, weights_of
from uniseg.weights.pickled import read_foreign
from uniseg.weights.reading import reading

UNSTATED = "not stated in the file"
EXPECTED = "an nnU-Net v2 checkpoint with 'network_weights' and the plans in 'init_args'"


@dataclass(frozen=True)
class Architecture:
    """What the tensors say of an nnU-Net, finest stage first.

    Examples:
        >>> sizes = [[3, 3, 3]] * 2
        >>> shape = Architecture([32, 64], sizes, [[2, 2, 2]], None, decoder_convs=2, upsample_bias=True)
        >>> shape.encoder().func.__name__
        'UNetEncoder'
    """

    channels: list[int]
    kernels: list[list[int]]
    strides: list[list[int]]
    blocks: list[int] | None
    decoder_convs: int
    upsample_bias: bool

    def parts(self) -> dict[str, partial]:
        """Of a network without prompts."""
        decoder = {"kernels": self.kernels, "num_convs": self.decoder_convs, "upsample_bias": self.upsample_bias}
        return {
            "encoder": self.encoder(),
            "conditioning": partial(NoConditioning),
            "head": partial(StaticHead, bias=True),
            "decoder": partial(Decoder, **decoder),
        }

    def encoder(self) -> partial[Encoder]:
        numbers = {"channels": self.channels, "strides": self.strides, "kernels": self.kernels}
        return (
            partial(UNetEncoder, **numbers)
            if self.blocks is None
            else partial(ResidualEncoder, **numbers, blocks=self.blocks)
        )


def import_nnunet(path: str | Path) -> UniSegModel:
    """A trained ``PlainConvUNet`` or ``ResidualEncoderUNet`` as a network of one task, which answers as it did in
    nnU-Net.

    Its widths, kernels, strides come from the tensors; patch, spacing, normalisation, classes from the plans in the
    checkpoint. nnU-Net decides between regions by a threshold in a stated order, ``label_scores`` by likelihood; the
    logits are the same.

    Args:
        path: ``fold_<k>/checkpoint_final.pth``.

    Raises:
        InputError: the file is no such checkpoint, has two dimensions, a cascade, another architecture or
            normalisation; a key is missing or unknown.
    """
    path = Path(path)
    return network_of(read_foreign(path, EXPECTED), path)


def network_of(content: Mapping, path: Path) -> UniSegModel:
    """``import_nnunet`` of a file that is read already."""
    with reading(path, EXPECTED, "give checkpoint_final.pth as nnU-Net v2 wrote it"):
        state = weights_of(content, path)
        plans, dataset, name = (content["init_args"][key] for key in ("plans", "dataset_json", "configuration"))
        configuration = _configuration(plans, name, path)
        task = _task(plans, dataset, configuration, path)
        patch_size = configuration["patch_size"]
        require_patch_size(patch_size, path)
        order = axis_order(plans)
        back = [order.index(axis) for axis in range(3)]
        shape = _turned(read_architecture(state, path), back)
        with without_numbers():
            model = UniSegModel(
                TaskSet([task]),
                patch_size=[patch_size[axis] for axis in back],
                **shape.parts(),
            )
        translated = translate_all(state, task, path)
        tensors = {key: _permuted(tensor, back) for key, tensor in translated.tensors.items()}
        facts = {"licence": dataset.get("licence") or dataset.get("license") or UNSTATED}
        model.provenance = Provenance({task.name: require_facts(facts, task.name, path)})
    assign(model, tensors, path, "give a PlainConvUNet or ResidualEncoderUNet")
    return model.eval()


def read_architecture(state: Mapping[str, Tensor], path: Path) -> Architecture:
    """What the tensors tell.

    Raises:
        InputError: a tensor that tells a number is not there.
    """
    ways_up = count_tensors(state, "decoder.transpconvs.{}.weight")
    residual = "encoder.stem.convs.0.conv.weight" in state
    first = "encoder.stages.{}.blocks.0.conv1.conv.weight" if residual else "encoder.stages.{}.0.convs.0.conv.weight"
    try:
        stages = [state[first.format(i)] for i in range(ways_up + 1)]
        if not ways_up or stages[0].ndim != 5:
            raise InputError(
                path,
                f"{stages[0].ndim - 2} dimensions, {ways_up} ways up",
                "a 3D U-Net",
                "give a checkpoint of 3d_fullres or 3d_lowres",
            )
        return Architecture(
            channels=[len(weight) for weight in stages],
            kernels=[list(weight.shape[2:]) for weight in stages],
            strides=[list(state[f"decoder.transpconvs.{u}.weight"].shape[2:]) for u in reversed(range(ways_up))],
            blocks=[
                count_tensors(state, f"encoder.stages.{i}.blocks.{{}}.conv1.conv.weight") for i in range(ways_up + 1)
            ]
            if residual
            else None,
            decoder_convs=count_tensors(state, "decoder.stages.0.convs.{}.conv.weight"),
            upsample_bias="decoder.transpconvs.0.bias" in state,
        )
    except KeyError as error:
        raise InputError(
            path, f"no {error}", "a PlainConvUNet or ResidualEncoderUNet", "give such a checkpoint"
        ) from error


def axis_order(plans: Mapping) -> list[int]:
    """The axis of the files, (z, y, x), that is the first, second, third of nnU-Net's network."""
    return plans.get("transpose_forward", [0, 1, 2])


def _turned(shape: Architecture, back: Sequence[int]) -> Architecture:
    """In our axis order, where the plans transposed the images."""

    def turn(sizes: list[list[int]]) -> list[list[int]]:
        return [[size[axis] for axis in back] for size in sizes]

    return Architecture(
        shape.channels, turn(shape.kernels), turn(shape.strides), shape.blocks, shape.decoder_convs, shape.upsample_bias
    )


def _permuted(tensor: Tensor, back: Sequence[int]) -> Tensor:
    return tensor.permute(0, 1, *(2 + axis for axis in back)).contiguous() if tensor.ndim == 5 else tensor


def _configuration(plans: Mapping, name: str, path: Path) -> dict:
    values = dict(plans["configurations"][name])
    if "inherits_from" in values:
        values = {**_configuration(plans, values["inherits_from"], path), **values}
    if len(values["patch_size"]) == 2:
        raise InputError(
            path, f"configuration '{name}', of two dimensions", "a 3D U-Net", "give 3d_fullres or 3d_lowres"
        )
    if values.get("previous_stage"):
        raise InputError(
            path,
            f"configuration '{name}', the second of a cascade",
            "one that reads images alone",
            "give 3d_fullres or 3d_lowres",
        )
    return values


def _task(plans: Mapping, dataset: Mapping, configuration: Mapping, path: Path) -> Task:
    """What nnU-Net's plans and ``dataset.json`` say of its one task."""
    channels = [name for _, name in sorted(dataset["channel_names"].items(), key=lambda item: int(item[0]))]
    names = channels if len(set(channels)) == len(channels) else [f"{name}_{k}" for k, name in enumerate(channels)]
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    foreground = {name: value for name, value in labels.items() if value not in (0, [0])}
    regions = (
        tuple(tuple(v) if isinstance(v, list) else (v,) for v in foreground.values())
        if any(isinstance(v, list) for v in labels.values())
        else ()
    )
    ordered = list(foreground) if regions else sorted(foreground, key=foreground.get)
    if not regions and [foreground[name] for name in ordered] != list(range(1, 1 + len(ordered))):
        raise InputError(
            path,
            f"label values {list(foreground.values())}",
            f"1 to {len(ordered)}, one for each class",
            "give the original file",
        )
    spacing = [configuration["spacing"][axis_order(plans).index(axis)] for axis in range(3)]
    schemes, masks = configuration["normalization_schemes"], configuration["use_mask_for_norm"]
    facts = plans["foreground_intensity_properties_per_channel"]
    return Task(
        name=_task_name(plans["dataset_name"]),
        modalities=tuple(names),
        classes=("background", *ordered),
        spacing_mm=tuple(spacing),
        normalization=tuple(
            _normalization(s, m, facts[str(k)], path) for k, (s, m) in enumerate(zip(schemes, masks, strict=True))
        ),
        regions=regions,
    )


def _task_name(dataset: str) -> str:
    """That of the task file which an import of the dataset writes, so that both are one task."""
    return task_name(dataset) if re.match(r"Dataset\d+_", dataset) else dataset


def _normalization(scheme: str, masked: bool, facts: Mapping, path: Path) -> Normalization:
    if scheme == "ZScoreNormalization":
        return ZScore(masked=bool(masked))
    numbers = (
        [float(facts[key]) for key in ("percentile_00_5", "percentile_99_5", "mean", "std")]
        if scheme == "CTNormalization"
        else []
    )
    if not numbers or not all(map(isfinite, numbers)):
        raise InputError(
            path,
            f"normalisation {scheme} {numbers}",
            "CTNormalization or ZScoreNormalization",
            "take its weights with init=checkpoint instead",
        )
    return Fingerprint("fingerprint", *numbers)
