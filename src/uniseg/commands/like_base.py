"""A configuration of ``uniseg.finetune`` after its base: network, patch size, spacing, normalisation."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from uniseg.commands.builders import tasks_of
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.planning.like_base import plan_like
from uniseg.sampling.settings import StreamSettings
from uniseg.training.control import LIKE_BASE, FinetuneSettings
from uniseg.weights.build import PARTS
from uniseg.weights.transfer import ForeignWeights

NETWORK = f"{UniSegModel.__module__}.{UniSegModel.__qualname__}"


def take_settings(config: DictConfig, settings: FinetuneSettings) -> str:
    """Write the short keys of the command to where every training reads them; the base's path.

    Raises:
        InputError: no base.
    """
    if settings.base is not None:
        config.init.checkpoint = settings.base
    if settings.num_patients is not None:
        config.data.num_patients = settings.num_patients
    if OmegaConf.is_missing(config.init, "checkpoint") or config.init.checkpoint is None:
        raise InputError("base", "no file", "a trained network", "add base=<checkpoint, exported folder or other file>")
    return str(config.init.checkpoint)


def follow_base(config: DictConfig, source: ForeignWeights, settings: FinetuneSettings) -> Iterator[str]:
    """Change the configuration after the base, in place; says what was taken."""
    if settings.network == LIKE_BASE:
        yield _follow_network(config, source)
    if settings.plan == LIKE_BASE:
        planned = plan_like(tasks_of(config), source.tasks or ())
        for task in planned.tasks:
            block = config.tasks[task.name]
            block.spacing_mm = list(task.spacing_mm)
            with open_dict(block):
                block.normalization = {
                    modality: how.to_dict() for modality, how in zip(task.modalities, task.normalization, strict=True)
                }
        yield from planned.lines


def _follow_network(config: DictConfig, source: ForeignWeights) -> str:
    if source.config is None:
        return f"Network: the configuration's; {source.name} ({source.kind}) does not describe its own."
    model = {"_target_": NETWORK, "_partial_": True}
    for name in PARTS:
        if name in source.config:
            model[name] = _part(name, source.config[name], config)
    config.model = model
    patch = "of the configuration"
    if source.config["patch_size"] and tuple(config.data.patch_size) == StreamSettings().patch_size:
        config.data.patch_size = list(source.config["patch_size"])
        patch = "of the base"
    return f"Network: as in {source.name}; patch {' x '.join(map(str, config.data.patch_size))}, {patch}."


def _partial(part: Any) -> Any:
    """As YAML has it: every class is called later, those inside others too."""
    if not isinstance(part, Mapping):
        return part
    inner = {key: _partial(value) for key, value in part.items()}
    return inner | {"_partial_": True} if "_target_" in part else inner


def _part(name: str, described: Mapping[str, Any], config: DictConfig) -> dict[str, Any]:
    """Of the base; what its file leaves to the weights, as text vectors, comes from the same part of the configuration.

    Raises:
        InputError: the configuration has another such part.
    """
    own: Any = OmegaConf.to_container(config.model, resolve=True)
    return _with_vectors(name, _partial(described), own.get(name, {}))


def _with_vectors(name: str, part: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``part`` with the vectors of ``own``, and with theirs of the same names where it combines several."""
    if part.get("vectors", "") is None:
        if own.get("_target_") != part["_target_"]:
            fix = "choose model/conditioning and model/head as the base has them"
            raise InputError(f"model.{name}", f"{own.get('_target_')}", f"{part['_target_']}, as the base has", fix)
        return part | {"vectors": own["vectors"], "num_channels": None}
    if isinstance(part.get("parts"), Mapping):
        others = own.get("parts", {})
        parts = part["parts"].items()
        return part | {
            "parts": {key: _with_vectors(f"{name}.parts.{key}", each, others.get(key, {})) for key, each in parts}
        }
    return part
