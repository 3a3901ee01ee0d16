"""Import of nnU-Net v2's networks, whole from its checkpoints, the encoder alone from nnssl's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

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
from uniseg.weights.foreign.unpickle import read_foreign
from uniseg.weights.reading import reading, require_tensors

EXPECTED = "an nnU-Net v2 checkpoint with 'network_weights' and the plans in 'init_args'"
WEIGHTS, PLAN = "network_weights", "nnssl_adaptation_plan"
CANCELLED = "a bias that the norm behind it cancels"
UNSTATED = "not stated in the file"
TWICE = "the same tensor by another name"
# nnU-Net's name -> ours; stages of the decoder are counted from the other end.
ENCODER = (
    (r"encoder\.stem\.convs\.0\.(conv|norm)\.(weight|bias)", "stem.{0}.{1}"),
    (r"encoder\.stages\.0\.0\.convs\.0\.(conv|norm)\.(weight|bias)", "stem.{0}.{1}"),
    (r"encoder\.stages\.0\.0\.convs\.1\.(conv|norm)\.(weight|bias)", "encoder.stages.0.0.{0}.{1}"),
    (r"encoder\.stages\.([1-9]\d*)\.0\.convs\.([01])\.(conv|norm)\.(weight|bias)", "encoder.stages.{0}.{1}.{2}.{3}"),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.first.{2}.{3}",
    ),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.second.{2}.{3}",
    ),
    (
        r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.([01])\.(conv|norm)\.(weight|bias)",
        "encoder.stages.{0}.{1}.skip.{2}.{3}.{4}",
    ),
)


@dataclass(frozen=True)
class Translated:
    """Tensors under our names, and the names of theirs that have no place in ours -> why."""

    tensors: Mapping[str, Tensor]
    unread: Mapping[str, str]


@dataclass(frozen=True)
class Architecture:
    """What the tensors say of an nnU-Net, finest stage first."""

    channels: list[int]
    kernels: list[list[int]]
    strides: list[list[int]]
    blocks: list[int] | None
    decoder_convs: int
    upsample_bias: bool

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
        InputError: not such a file; two dimensions, a cascade, another architecture or normalisation; a key is missing
            or unknown.
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
        order = plans.get("transpose_forward", [0, 1, 2])
        back = [order.index(axis) for axis in range(3)]
        shape = _turned(_architecture(state, path), back)
        with without_numbers():
            model = UniSegModel(
                TaskSet([task]),
                patch_size=[patch_size[axis] for axis in back],
                encoder=shape.encoder(),
                conditioning=NoConditioning,
                head=partial(StaticHead, bias=True),
                decoder=partial(
                    Decoder, kernels=shape.kernels, num_convs=shape.decoder_convs, upsample_bias=shape.upsample_bias
                ),
            )
        translated = translate_all(state, task, path)
        tensors = {key: _permuted(tensor, back) for key, tensor in translated.tensors.items()}
        facts = {"licence": dataset.get("licence") or dataset.get("license") or UNSTATED}
        model.provenance = Provenance({task.name: require_facts(facts, task.name, path)})
    assign(model, tensors, path, "give a PlainConvUNet or ResidualEncoderUNet")
    return model.eval()


def weights_of(content: Mapping, path: str | Path) -> dict[str, Tensor]:
    """The tensors, without the prefixes of compiled or distributed networks.

    Raises:
        InputError: there are none, or they are no numbers.
    """
    weights = content.get(WEIGHTS)
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(
            path, f"keys {sorted(map(str, content))[:8]}", f"a checkpoint with '{WEIGHTS}'", "give the original file"
        )
    return {
        re.sub(r"^(module\.|_orig_mod\.)+", "", name): tensor for name, tensor in require_tensors(weights, path).items()
    }


def translate_encoder(state: Mapping[str, Tensor], path: str | Path) -> Translated:
    """First convolution and encoder under our names; what belongs to neither stays unread.

    Raises:
        InputError: a tensor of the encoder that no rule knows: another architecture.
    """
    tensors: dict[str, Tensor] = {}
    unread: dict[str, str] = {}
    for name, tensor in state.items():
        if not name.startswith("encoder."):
            unread[name] = TWICE if name.startswith("decoder.encoder.") else "not of the encoder"
        elif ".all_modules." in name:
            unread[name] = TWICE
        elif ours := _ours(name, tensor):
            tensors[ours] = tensor
        elif name.endswith(".conv.bias"):
            unread[name] = CANCELLED
        else:
            raise InputError(
                path,
                f"'{name}'",
                "a PlainConvUNet with two convolutions per stage, or a ResidualEncoderUNet",
                "give such a checkpoint",
            )
    return Translated(tensors, unread)


def translate_all(state: Mapping[str, Tensor], task: Task, path: str | Path) -> Translated:
    """The whole network under our names; the head of overlapping regions gets the background's row, which is not read.

    Raises:
        InputError: a tensor that no rule knows: another architecture.
    """
    found = translate_encoder(state, path)
    tensors, unread = dict(found.tensors), dict(found.unread)
    last = _count(state, "decoder.transpconvs.{}.weight") - 1
    for name, tensor in state.items():
        if not name.startswith("decoder.") or name.startswith("decoder.encoder."):
            continue
        kind, number, rest = (*name.split(".", 3)[1:], "")[:3]
        stage = f"decoder.stages.{last - int(number)}"
        del unread[name]
        if ".all_modules." in name:
            unread[name] = TWICE
        elif kind == "transpconvs":
            tensors[f"{stage}.upsample.{rest}"] = tensor
        elif kind == "seg_layers":
            rows = torch.cat([torch.zeros_like(tensor[:1]), tensor]) if task.regions else tensor
            tensors[f"head.convs.{last - int(number)}.{rest}"] = rows
        elif rest == "convs.0.conv.weight":
            tensors[f"{stage}.up_half.weight"], tensors[f"{stage}.skip_half.weight"] = tensor.chunk(2, dim=1)
        elif rest.startswith("convs.0.norm."):
            tensors[f"{stage}.{rest.replace('convs.0.norm', 'adn.N')}"] = tensor
        elif rest.startswith("convs.1.norm.") or rest == "convs.1.conv.weight":
            tensors[f"{stage}.{rest.replace('convs.1', 'conv').replace('norm', 'adn.N')}"] = tensor
        elif rest in ("convs.0.conv.bias", "convs.1.conv.bias"):
            unread[name] = CANCELLED
        else:
            raise InputError(
                path, f"'{name}'", "one or two convolutions per stage of the decoder", "give such a checkpoint"
            )
    return Translated(tensors, unread)


def _ours(name: str, tensor: Tensor) -> str | None:
    if name.endswith(".conv.bias"):
        return None
    for pattern, ours in ENCODER:
        if match := re.fullmatch(pattern, name):
            translated = ours.format(*match.groups()).replace(".norm.", ".adn.N.")
            return (
                translated.replace("stem.conv.", f"stem.convs.{tensor.shape[1]}.") if tensor.ndim == 5 else translated
            )
    return None


def _architecture(state: Mapping[str, Tensor], path: Path) -> Architecture:
    """Raises InputError where a tensor that tells a number is not there."""
    ways_up = _count(state, "decoder.transpconvs.{}.weight")
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
            blocks=[_count(state, f"encoder.stages.{i}.blocks.{{}}.conv1.conv.weight") for i in range(ways_up + 1)]
            if residual
            else None,
            decoder_convs=_count(state, "decoder.stages.0.convs.{}.conv.weight"),
            upsample_bias="decoder.transpconvs.0.bias" in state,
        )
    except KeyError as error:
        raise InputError(
            path, f"no {error}", "a PlainConvUNet or ResidualEncoderUNet", "give such a checkpoint"
        ) from error


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
    spacing = [configuration["spacing"][plans.get("transpose_forward", [0, 1, 2]).index(axis)] for axis in range(3)]
    schemes, masks = configuration["normalization_schemes"], configuration["use_mask_for_norm"]
    facts = plans["foreground_intensity_properties_per_channel"]
    return Task(
        name=re.sub(r"^Dataset\d+_", "", plans["dataset_name"]),
        modalities=tuple(names),
        classes=("background", *ordered),
        spacing_mm=tuple(spacing),
        normalization=tuple(
            _normalization(s, m, facts[str(k)], path) for k, (s, m) in enumerate(zip(schemes, masks, strict=True))
        ),
        regions=regions,
    )


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


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return next(i for i in range(len(state) + 1) if pattern.format(i) not in state)
