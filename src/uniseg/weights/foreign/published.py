"""Import of checkpoints in the published UniSeg's format (an nnU-Net v1 file)."""

from functools import partial
from math import prod
from pathlib import Path

from torch import Tensor

from uniseg.errors import InputError
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.assign import assign, without_numbers
from uniseg.weights.description import require_patch_size
from uniseg.weights.foreign.nnunet_names import count_tensors
from uniseg.weights.foreign.published_tasks import published_tasks
from uniseg.weights.pickled import read_foreign
from uniseg.weights.reading import reading, require_tensors

LICENCE = "UniSeg's own, non-commercial; with the terms of its eleven datasets"
CITATION = (
    "Yiwen Ye, Yutong Xie, Jianpeng Zhang, Ziyang Chen, Yong Xia: UniSeg: A Prompt-driven Universal Segmentation Model "
    "as well as A Strong Representation Learner. MICCAI 2023."
)
EXPECTED = "the published network's keys"
FIX = "give a checkpoint of the published network, or the tasks that it was trained on"


def import_published(path: str | Path, tasks: TaskSet | None = None) -> UniSegModel:
    """The network of a published-format checkpoint; its sizes are inferred from the tensors.

    Convolution biases before an instance norm are dropped: the norm cancels them. Nothing but tensors, plain
    containers and NumPy scalars is unpickled.

    Args:
        path: ``model_final_checkpoint.model``.
        tasks: in the order of the universal prompt's channels; the eleven published ones by default.

    Raises:
        InputError: the file is no such checkpoint; a key is missing, unknown, or of another shape; the tasks do not
            fit.
    """
    return network_of(read_state(Path(path)), path, tasks)


def network_of(state: dict[str, Tensor], path: str | Path, tasks: TaskSet | None = None) -> UniSegModel:
    """``import_published`` of a file that is read already."""
    tasks = tasks if tasks is not None else published_tasks()
    with reading(path, EXPECTED, FIX):
        state = require_tensors(state, path)
        prompt = _take(state, "intermedia_prompt", path)
        strides = [
            list(_take(state, f"tu.{u}.weight", path).shape[2:])
            for u in reversed(range(count_tensors(state, "tu.{}.weight")))
        ]
        num_stages = len(strides) + 1
        weights = [_take(state, _encoder_key(i, 1, num_stages) + ".conv.weight", path) for i in range(num_stages)]
        hidden_channels = len(_take(state, "fusion_layer.blocks.0.conv.weight", path))
        stride = [prod(axis) for axis in zip(*strides, strict=True)]
        patch_size = [n * s for n, s in zip(prompt.shape[2:], stride, strict=True)]
        require_patch_size(patch_size, path)
        channels, kernels = [len(weight) for weight in weights], [list(weight.shape[2:]) for weight in weights]
        with without_numbers():
            model = UniSegModel(
                tasks,
                patch_size=patch_size,
                encoder=partial(UNetEncoder, channels=channels, strides=strides, kernels=kernels),
                conditioning=partial(
                    FusePrompt, hidden_channels=hidden_channels, learned=True, place="bottleneck", fuse=True
                ),
                head=StaticHead,
            )
        _check(prompt.shape[1] == len(tasks), path, f"{prompt.shape[1]} prompts", f"one for each of {len(tasks)} tasks")
        classes, widest = len(_take(state, "seg_outputs.0.weight", path)), max(task.num_classes for task in tasks)
        _check(classes == widest, path, f"{classes} class rows", f"{widest}, the widest of the tasks")
        tensors = translate(state, model, path)
    assign(model, tensors, path, FIX)
    model.provenance = Provenance(licence=LICENCE, citations=(CITATION,))
    return model.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The ``state_dict`` of an nnU-Net v1 checkpoint, read with PyTorch's safe loader.

    Raises:
        InputError: the file cannot be read, or is no such checkpoint.
    """
    expected = "an nnU-Net v1 checkpoint with a 'state_dict'"
    content = read_foreign(path, expected)
    if not isinstance(content.get("state_dict"), dict):
        raise InputError(path, f"keys {sorted(map(str, content))[:8]}", expected, "give the original file")
    return dict(content["state_dict"])


def translate(state: dict[str, Tensor], model: UniSegModel, path: str | Path) -> dict[str, Tensor]:
    """Published names -> ours, for the shapes of ``model``.

    Raises:
        InputError: a key is missing, unknown, or of another shape; the first is named.
    """
    state, expected = dict(state), model.state_dict()
    names = published_names(model)
    translated: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        tensor = state.pop(theirs, None)
        _check(tensor is not None, path, f"no key '{theirs}'", EXPECTED)
        parts = tensor.chunk(2, dim=1) if len(ours) == 2 else (tensor,)
        for name, part in zip(ours, parts, strict=True):
            _check(
                part.shape == expected[name].shape,
                path,
                f"'{theirs}' of shape {tuple(tensor.shape)}",
                f"parts of shape {tuple(expected[name].shape)}",
            )
            translated[name] = part
    biases = {name.removesuffix("weight") + "bias" for name in names if needs_bias(name)}
    unknown = sorted(set(state) - biases)
    _check(not unknown, path, f"unknown key '{unknown[0] if unknown else ''}'", EXPECTED)
    return translated


def needs_bias(name: str) -> bool:
    """Whether a published weight has a bias, which the norm after it cancels."""
    return name.endswith(".conv.weight") or ".conv_" in name


def published_names(model: UniSegModel) -> dict[str, tuple[str, ...]]:
    """Published key -> our key, or our two halves."""
    num_stages = len(model.encoder.channels)
    names: dict[str, tuple[str, ...]] = {}

    def norm(theirs: str, ours: str) -> None:
        for part in ("weight", "bias"):
            names[f"{theirs}.{part}"] = (f"{ours}.N.{part}",)

    def block(theirs: str, ours: str) -> None:
        names[f"{theirs}.conv.weight"] = (f"{ours}.conv.weight",)
        norm(f"{theirs}.instnorm", f"{ours}.adn")

    if isinstance(model.conditioning, FusePrompt):  # the downstream network has none
        names["intermedia_prompt"] = ("conditioning.universal_prompt",)
        for i in range(3):
            block(f"fusion_layer.blocks.{i}", f"conditioning.fuse.{i}")
    for count in model.stem.convs:
        names[f"conv_blocks_context.0.blocks.0.conv_{count}.weight"] = (f"stem.convs.{count}.weight",)
    norm("conv_blocks_context.0.blocks.0.instnorm", "stem.adn")
    block(_encoder_key(0, 1, num_stages), "encoder.stages.0.0")
    for i in range(1, num_stages):
        for j in range(2):
            block(_encoder_key(i, j, num_stages), f"encoder.stages.{i}.{j}")
    for u in range(num_stages - 1):
        stage = f"decoder.stages.{num_stages - 2 - u}"
        names[f"tu.{u}.weight"] = (f"{stage}.upsample.weight",)
        first = f"conv_blocks_localization.{u}.0.blocks.0"
        names[f"{first}.conv.weight"] = (f"{stage}.up_half.weight", f"{stage}.skip_half.weight")
        norm(f"{first}.instnorm", f"{stage}.adn")
        block(f"conv_blocks_localization.{u}.1.blocks.0", f"{stage}.conv")
        names[f"seg_outputs.{u}.weight"] = (f"head.convs.{num_stages - 2 - u}.weight",)
    return names


def _encoder_key(stage: int, block: int, num_stages: int) -> str:
    last = stage == num_stages - 1
    return f"conv_blocks_context.{stage}.{block}.blocks.0" if last else f"conv_blocks_context.{stage}.blocks.{block}"


def _take(state: dict[str, Tensor], key: str, path: str | Path) -> Tensor:
    _check(key in state, path, f"no key '{key}'", EXPECTED)
    return state[key]


def _check(holds: bool, path: str | Path, found: str, expected: str) -> None:
    if not holds:
        raise InputError(path, found, expected, FIX)
