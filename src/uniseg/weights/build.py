"""Builds a network from its description, out of classes that may be trusted."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TypeVar

from torch import nn

from uniseg.errors import InputError
from uniseg.models.conditioning.base import Conditioning
from uniseg.models.decoder import Decoder
from uniseg.models.encoders.base import Encoder
from uniseg.models.heads.base import Head
from uniseg.models.uniseg import UniSegModel
from uniseg.renamed import renamed_path
from uniseg.task import TaskSet
from uniseg.weights.assign import require_same_tensors, without_numbers
from uniseg.weights.description import require_config
from uniseg.weights.reading import reading

Model = TypeVar("Model", bound=UniSegModel)
TRUSTED = "uniseg.models."
GROUP = "uniseg.models"  # of entry points: an installed package that has one may be named by a checkpoint
PARTS = {"encoder": Encoder, "conditioning": Conditioning, "head": Head, "decoder": Decoder}
LOADABLE = "a network that its checkpoint can describe"
INSTALL = "install the package that the part comes from, with an entry point in the group uniseg.models"


def build_model(tasks: TaskSet, config: Mapping, cls: type[Model] = UniSegModel) -> Model:  # type: ignore[assignment]
    """The network that ``UniSegModel.config`` describes, with new weights; its last tasks may be added ones.

    Args:
        tasks: all of the network's.
        config: plain containers.
        cls: what is built.

    Raises:
        InputError: it names a class of a package that is not trusted, or one of another kind than the part.
    """
    # Older files had one decoder and did not name it.
    parts = {name: _part(name, config[name], kind) for name, kind in PARTS.items() if name in config}
    num_base = len(tasks) - len(config["added"])
    model = cls(TaskSet(tasks[:num_base]), patch_size=config["patch_size"], **parts)
    for task, added in zip(tasks[num_base:], config["added"], strict=True):
        model.extend([task], **added)
    model.set_norm_eps(config.get("norm_eps", {}))
    return model


def require_loadable(model: UniSegModel) -> None:
    """Check, before training, that a checkpoint of ``model`` would give it back.

    Raises:
        InputError: a part is of a package that is not trusted, is not described by plain values, or comes back with
            other tensors.
    """
    with reading("model", LOADABLE, INSTALL):
        with without_numbers():
            again: UniSegModel = build_model(model.tasks, require_config(model.config, "model"))
        fix = "let the constructor's arguments alone, and what settings() returns, decide which tensors a part has"
        require_same_tensors(again.state_dict(), model.state_dict(), "model", fix)


def _part(part: str, description: Mapping, kind: type[nn.Module]) -> partial:
    keywords = dict(description)
    target = renamed_path(keywords.pop("_target_"))
    module, _, name = target.rpartition(".")
    cls = getattr(import_module(module), name, None) if _is_trusted(target) else None
    if not (isinstance(cls, type) and issubclass(cls, kind) and cls.__module__ == module):
        expected = f"a class of {GROUP}, or of an installed package with an entry point of that group, that is "
        raise InputError(part, f"class '{target[:100]}'", f"{expected}a {kind.__name__}", INSTALL)
    return partial(cls, **{key: _nested(part, value, kind) for key, value in keywords.items()})


def _nested(part: str, value: object, kind: type[nn.Module]) -> object:
    """Parts of the same kind that ``value`` describes by name, as factories; any other value as it is."""
    if isinstance(value, Mapping) and all(
        isinstance(inner, Mapping) and "_target_" in inner for inner in value.values()
    ):
        return {name: _part(part, inner, kind) for name, inner in value.items()}
    return value


def _is_trusted(target: str) -> bool:
    """Whether the class is one of ours, or its top-level package registers an entry point: somebody installed it."""
    if target.startswith(TRUSTED):
        return True
    return target.partition(".")[0] in {point.module.partition(".")[0] for point in entry_points(group=GROUP)}
