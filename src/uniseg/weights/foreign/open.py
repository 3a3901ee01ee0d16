"""Files that weights come from, recognised by their content."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uniseg.errors import InputError
from uniseg.models.factories import describe_factory
from uniseg.models.pretexts import is_pretrained_alone, without_pretexts
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.checkpoint import load_model
from uniseg.weights.ensemble import members
from uniseg.weights.foreign import nnunet, published
from uniseg.weights.foreign.nnunet import UNSTATED
from uniseg.weights.foreign.nnunet_names import CANCELLED, translate_all, translate_encoder, weights_of
from uniseg.weights.foreign.segresnet import state_of, translate_segresnet
from uniseg.weights.hub import local_path
from uniseg.weights.licences import strictest
from uniseg.weights.pickled import read_foreign
from uniseg.weights.reading import reading
from uniseg.weights.transfer import ForeignWeights

PLAN = "nnssl_adaptation_plan"
ENCODER_STAGES = "encoder.stages"
ENCODER_PARTS = ("stem.", "encoder.")
EXPECTED = (
    "a checkpoint or an exported folder of uniseg, a published UniSeg file, a checkpoint of nnU-Net v2 or nnssl, "
    "or a state dict of MONAI's SegResNet"
)


def open_source(path: str | Path) -> ForeignWeights:
    """The weights of a file or folder, of whatever program ``EXPECTED`` names.

    Raises:
        InputError: the file is missing, or none of these.
    """
    path = local_path(path)
    if not path.exists():
        raise InputError(path, "no such file", EXPECTED, "correct init.checkpoint")
    if path.is_dir():
        return _uniseg(path)
    content = read_foreign(path, EXPECTED)
    readers = {"uniseg": _uniseg, PLAN: _nnssl, "init_args": _nnunet, "state_dict": _published_or_segresnet}
    reader = next((reader for key, reader in readers.items() if key in content), _segresnet)
    with reading(path, EXPECTED, "give the original file"):
        return reader(path, content)


def _uniseg(path: Path, content: Mapping | None = None) -> ForeignWeights:
    """Of an ensemble the first network."""
    path = members(path)[0]
    model: UniSegModel = load_model(path)
    # Of all that it ever learned, not of its tasks alone: what it was fine-tuned from is in there too.
    data = model.provenance.data
    names = {*model.tasks.names, *data}
    licence = strictest(data.get(name, {}).get("licence", "") for name in names)
    model = model if is_pretrained_alone(model) else without_pretexts(model)
    state, provenance = model.state_dict(), model.provenance
    return ForeignWeights(str(path), "uniseg", licence, state, model.tasks, {}, provenance, config=model.config)


def _published_or_segresnet(path: Path, content: Mapping) -> ForeignWeights:
    is_published = any(str(name).startswith("conv_blocks_context.") for name in content["state_dict"])
    return _published(path, content) if is_published else _segresnet(path, content)


def _published(path: Path, content: Mapping) -> ForeignWeights:
    model = published.network_of(content["state_dict"], path)
    biases = [name for name in content["state_dict"] if name.endswith("bias") and "instnorm" not in name]
    return ForeignWeights(
        str(path),
        "published UniSeg",
        published.LICENCE,
        model.state_dict(),
        model.tasks,
        dict.fromkeys(biases, CANCELLED),
        replace(model.provenance, data={task.name: {"licence": published.LICENCE} for task in model.tasks}),
        config=model.config,
    )


def _nnunet(path: Path, content: Mapping) -> ForeignWeights:
    model = nnunet.network_of(content, path)
    (task,) = model.tasks
    unread = translate_all(weights_of(content, path), task, path).unread
    licence = model.provenance.data[task.name]["licence"]
    what = (str(path), "nnU-Net v2", licence, model.state_dict(), model.tasks, unread, model.provenance)
    return ForeignWeights(*what, config=model.config)


def _nnssl(path: Path, content: Mapping) -> ForeignWeights:
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
    translated = translate_encoder(state, path)
    what = (str(path), "nnssl", UNSTATED, translated.tensors, None, translated.unread, Provenance(), ENCODER_PARTS)
    return ForeignWeights(*what, config=_nnssl_network(content, prefix, path))


def _nnssl_network(content: Mapping, prefix: str, path: Path) -> dict[str, Any] | None:
    """As ``UniSegModel.config``: encoder and decoder that the tensors tell of, without prompts; None where they do not
    tell, as without transposed convolutions, whose kernels are the strides.
    """
    weights = {
        f"encoder.{name.removeprefix(prefix)}" if name.startswith(prefix) else name: tensor
        for name, tensor in weights_of(content, path).items()
    }
    try:
        shape = nnunet.read_architecture(weights, path)
    except InputError:
        return None
    size = content[PLAN].get("recommended_downstream_patchsize")
    parts = {name: describe_factory(part) for name, part in shape.parts().items()}
    return {"patch_size": list(size) if isinstance(size, (list, tuple)) else None, **parts, "added": []}


def _segresnet(path: Path, content: Mapping) -> ForeignWeights:
    translated = translate_segresnet(state_of(content, path), path)
    unknown = Provenance()
    return ForeignWeights(
        str(path), "MONAI SegResNet", UNSTATED, translated.tensors, None, translated.unread, unknown, ENCODER_PARTS
    )
