"""Files that weights come from, told apart by what is in them."""

from collections.abc import Mapping
from pathlib import Path

from uniseg.errors import InputError
from uniseg.weights.checkpoint import load_model
from uniseg.weights.foreign import nnunet, published
from uniseg.weights.foreign.nnunet import CANCELLED, PLAN, UNSTATED, translate_all, translate_encoder, weights_of
from uniseg.weights.foreign.segresnet import state_of, translate_segresnet
from uniseg.weights.foreign.unpickle import read_foreign
from uniseg.weights.licences import strictest
from uniseg.weights.reading import reading
from uniseg.weights.transfer import Source

PUBLISHED_LICENCE = "UniSeg's own, non-commercial; with the terms of its eleven datasets"
ENCODER_STAGES = "encoder.stages"
ENCODER_PARTS = ("stem.", "encoder.")
EXPECTED = (
    "a checkpoint or an exported folder of uniseg, a published UniSeg file, a checkpoint of nnU-Net v2 or nnssl, "
    "or a state dict of MONAI's SegResNet"
)


def open_source(path: str | Path) -> Source:
    """The weights of a file or folder, of whatever program ``EXPECTED`` names.

    Raises:
        InputError: missing, or none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file", EXPECTED, "correct init.checkpoint")
    if path.is_dir():
        return _own(path)
    content = read_foreign(path, EXPECTED)
    readers = {"uniseg": _own, PLAN: _nnssl, "init_args": _nnunet, "state_dict": _published_or_segresnet}
    reader = next((reader for key, reader in readers.items() if key in content), _segresnet)
    with reading(path, EXPECTED, "give the original file"):
        return reader(path, content)


def _own(path: Path, content: Mapping | None = None) -> Source:
    model = load_model(path)
    data = model.origin.get("data", {})
    licence = strictest(data.get(name, {}).get("licence", "") for name in model.tasks.names)
    return Source(str(path), "uniseg", licence, model.state_dict(), model.tasks, {}, data)


def _published_or_segresnet(path: Path, content: Mapping) -> Source:
    is_published = any(str(name).startswith("conv_blocks_context.") for name in content["state_dict"])
    return _published(path, content) if is_published else _segresnet(path, content)


def _published(path: Path, content: Mapping) -> Source:
    model = published.network_of(content["state_dict"], path)
    biases = [name for name in content["state_dict"] if name.endswith("bias") and "instnorm" not in name]
    return Source(
        str(path),
        "published UniSeg",
        PUBLISHED_LICENCE,
        model.state_dict(),
        model.tasks,
        dict.fromkeys(biases, CANCELLED),
        {task.name: {"licence": PUBLISHED_LICENCE} for task in model.tasks},
    )


def _nnunet(path: Path, content: Mapping) -> Source:
    model = nnunet.network_of(content, path)
    (task,) = model.tasks
    unread = translate_all(weights_of(content, path), task, path).unread
    data = model.origin["data"]
    return Source(str(path), "nnU-Net v2", data[task.name]["licence"], model.state_dict(), model.tasks, unread, data)


def _nnssl(path: Path, content: Mapping) -> Source:
    """The encoder, which the adaptation plan locates; its decoder has learnt another thing than to segment."""
    where = str(content[PLAN].get("key_to_encoder", ENCODER_STAGES))
    if not where.endswith("stages"):
        raise InputError(
            path,
            f"key_to_encoder '{where}'",
            "a convolutional encoder, '...stages'",
            "give a checkpoint of ResEncL or PlainConvUNet",
        )
    prefix = where.removesuffix("stages")
    state = {
        f"encoder.{n.removeprefix(prefix)}" if n.startswith(prefix) else f"decoder.{n}": t
        for n, t in weights_of(content, path).items()
    }
    found = translate_encoder(state, path)
    return Source(str(path), "nnssl", UNSTATED, found.tensors, None, found.unread, {}, parts=ENCODER_PARTS)


def _segresnet(path: Path, content: Mapping) -> Source:
    found = translate_segresnet(state_of(content, path), path)
    return Source(str(path), "MONAI SegResNet", UNSTATED, found.tensors, None, found.unread, {}, parts=ENCODER_PARTS)
