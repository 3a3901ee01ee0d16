"""Checks the block of a task that a file of somebody gives: data of the right types, never code."""

import re
from collections.abc import Callable
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.errors import InputError
from uniseg.normalization.base import Normalization

PACKAGE = re.compile(r"tasks\.(?!.*_(global|group)_)[^.\s]+")
FIX = "correct the file"


def check_block(path: Path, block: DictConfig, written_at: Callable[[str], str] = str) -> None:
    """Keys and types are those of a task.

    Args:
        path: the file, for messages.
        written_at: dotted key of the block -> where it stands in the file.

    Raises:
        InputError: names the line.
    """
    from uniseg.commands.run_roots import TaskSchema  # which knows all rooms

    if "_target_" in _keys(OmegaConf.to_container(block)):
        raise InputError(path, "a key _target_", "the keys of one task", FIX)
    for key in block:
        try:
            OmegaConf.merge(OmegaConf.structured(TaskSchema), {key: block._get_node(key)})
        except OmegaConfBaseException as error:
            line = _line_of(path.read_text(encoding="utf-8"), written_at(error.full_key or str(key)))
            reason = str(error).splitlines()[0]
            raise InputError(path, f"line {line}: {reason}", "what docs/data.md describes", FIX) from error
    modalities = OmegaConf.to_container(block).get("normalization")
    for modality, how in modalities.items() if isinstance(modalities, dict) else ():
        _check_normalization(path, str(modality), how, written_at)


def _check_normalization(path: Path, modality: str, how: object, written_at: Callable[[str], str]) -> None:
    """Of one modality, where the file alone says all of it."""
    if not isinstance(how, dict) or "mode" not in how or any("${" in str(value) for value in how.values()):
        return
    try:
        Normalization.from_dict(how, f"modality '{modality}'")
    except InputError as error:
        line = _line_of(path.read_text(encoding="utf-8"), written_at(f"normalization.{modality}"))
        raise InputError(path, f"line {line}: {error.found}", error.expected, FIX) from error


def _keys(value: object) -> set[str]:
    """All keys at all depths."""
    if isinstance(value, dict):
        return {str(key) for key in value}.union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def _line_of(text: str, key: str) -> int:
    """The line that a dotted key stands in; that of the last part that is there."""
    node, line = yaml.compose(text), 1
    for part in re.findall(r"[^.\[\]]+", key):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        items = dict(enumerate(node.value)) if isinstance(node, yaml.SequenceNode) else {}
        found = next(((name, value) for name, value in pairs if name.value == part), None) or (
            part.isdigit() and (items.get(int(part)),) * 2
        )
        if not found or found[0] is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
