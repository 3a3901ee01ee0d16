"""What a file may say of the network whose tensors it holds: plain values of the right types, within bounds."""

import os
from collections.abc import Mapping
from math import inf
from typing import TypeGuard

from uniseg.datasets.split_file import SPLITS
from uniseg.errors import InputError
from uniseg.models.provenance import Provenance
from uniseg.weights.seen import current_facts

FIX = "give the file as it was written"
MOST_VALUES, DEEPEST, LONGEST_TEXT = 2_000_000, 20, 20_000
LARGEST_NUMBER, LONGEST_LIST = 65_536, 64  # of a part: channels, kernels, blocks, stages
LARGEST_PATCH, MOST_VOXELS = 1024, 2**28
MOST_ADAPTER_CHANNELS = 4096
PARTS = ("encoder", "conditioning", "head", "decoder")


def require_plain(value: object, where: str | os.PathLike) -> None:
    """Check that ``value`` can be written as JSON, in a size that people write.

    Raises:
        InputError: it holds something else than text, numbers, lists and dicts with text as keys; too many values, or
            too deep or long ones.
    """
    left, number = [(value, 0)], 0
    while left:
        value, depth = left.pop()
        number += 1
        if isinstance(value, Mapping):
            keys, below = list(value), list(value.values())
        else:
            keys, below = [], list(value) if isinstance(value, (list, tuple)) else []
            if not below and not isinstance(value, (list, tuple, str, int, float, type(None))):
                raise InputError(where, f"a description that holds a {type(value).__name__}", "plain values", FIX)
        texts = [text for text in (*keys, value) if isinstance(text, str)]
        if not all(isinstance(key, str) for key in keys) or any(len(text) > LONGEST_TEXT for text in texts):
            raise InputError(
                where, "a description with keys that are no text, or with a text that is too long", "plain values", FIX
            )
        if number > MOST_VALUES or depth > DEEPEST:
            raise InputError(where, "a description of too many values", f"{MOST_VALUES} at most, {DEEPEST} deep", FIX)
        left += [(each, depth + 1) for each in below]


def require_config(config: object, where: str | os.PathLike) -> dict:
    """Check that ``config`` has the form of ``UniSegModel.config``, whatever its parts are.

    Raises:
        InputError: a value has another type, a part names no class, a number is out of bounds.
    """
    values = _mapping(config, "the network", where)
    for name in PARTS:
        if name in values or name != "decoder":  # older ones had one decoder
            part = dict(_mapping(values.get(name), name, where))
            if not isinstance(part.pop("_target_", None), str):
                raise InputError(where, f"{name} without '_target_'", "the name of its class", FIX)
            _require_numbers(list(part.values()), name, where)
    require_patch_size(values.get("patch_size"), where)
    for name, eps in _mapping(values.get("norm_eps", {}), "the norms' epsilons", where).items():
        if not isinstance(eps, float) or not 0 < eps < inf:
            raise InputError(where, f"an epsilon {eps!r:.60} of {name[:60]}", "a number above 0", FIX)
    if not isinstance(values.get("added"), list):
        raise InputError(where, f"added {values.get('added')!r:.60}", "a list, of what each added task brought", FIX)
    for added in values["added"]:
        require_added(added, where)
    return values


def require_patch_size(size: object, where: str | os.PathLike) -> None:
    """Check a patch size.

    Raises:
        InputError: it is not three positive whole numbers, or larger than any machine holds.
    """
    sound = isinstance(size, (list, tuple)) and len(size) == 3 and all(_whole(n, 1, LARGEST_PATCH) for n in size)
    if not sound or size[0] * size[1] * size[2] > MOST_VOXELS:
        raise InputError(where, f"patch_size {size!r:.60}", f"three whole numbers from 1 to {LARGEST_PATCH}", FIX)


def require_added(added: object, where: str | os.PathLike) -> dict:
    """Check that ``added`` has what ``UniSegModel.make_added`` needs."""
    values = _mapping(added, "an added task", where)
    if values.keys() != {"adapter_channels"} or not _whole(values["adapter_channels"], 0, MOST_ADAPTER_CHANNELS):
        raise InputError(
            where, f"an added task of {values!r:.60}", f"adapter_channels from 0 to {MOST_ADAPTER_CHANNELS}", FIX
        )
    return values


def require_provenance(provenance: object, where: str | os.PathLike) -> Provenance:
    """The ``Provenance`` of plain containers that a file of any version holds.

    Raises:
        InputError: a fact has another type than ``Provenance`` states.
    """
    require_plain(provenance, where)
    values = _mapping(provenance, "the origin", where)
    for key in ("commit", "licence"):
        _require_text(values, key, where)
    data = _mapping(values.get("data", {}), "data", where)
    values["data"] = {name: require_facts(facts, name, where) for name, facts in data.items()}
    for name, scores in _mapping(values.get("scores", {}), "scores", where).items():
        numbers = _mapping(scores, "scores", where).values()
        if not all(value is None or isinstance(value, (int, float)) for value in numbers):
            raise InputError(where, f"scores of '{name[:60]}' that are no numbers", "numbers", FIX)
    _require_texts(values.get("citations", []), "citations", where)
    return Provenance.from_dict(values)


def require_facts(facts: object, name: str, where: str | os.PathLike) -> dict:
    """``facts`` on the training data of the task ``name``: licence, homepage, citation, case ids by split."""
    require_plain(facts, where)
    values = current_facts(_mapping(facts, f"the data of '{name[:60]}'", where))
    for key in ("licence", "homepage", "citation"):
        _require_text(values, key, where)
    for split in SPLITS:
        _require_texts(values.get(split, []), f"cases of '{name[:60]}'", where)
    return values


def _mapping(value: object, what: str, where: str | os.PathLike) -> dict:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(where, f"{value!r:.60} for {what}", "names with values", FIX)
    return dict(value)


def _require_text(values: Mapping, key: str, where: str | os.PathLike) -> None:
    if not isinstance(values.get(key, ""), str):
        raise InputError(where, f"{key} {values[key]!r:.60}", "text", FIX)


def _require_texts(values: object, what: str, where: str | os.PathLike) -> None:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise InputError(where, f"{what} that are no list of names", "names", FIX)


def _require_numbers(values: list, part: str, where: str | os.PathLike) -> None:
    """Numbers, names, lists and nested parts of them: those of a network that can be built."""
    for value in values:
        if _are_parts(value):
            for inner in value.values():
                _require_numbers(list(inner.values()), part, where)
        elif isinstance(value, (list, tuple)) and len(value) <= LONGEST_LIST:
            _require_numbers(list(value), part, where)
        elif not (
            value is None
            or isinstance(value, str)
            or (isinstance(value, (int, float)) and 0 <= value <= LARGEST_NUMBER)
        ):
            raise InputError(
                where,
                f"{part} with {value!r:.60}",
                f"numbers up to {LARGEST_NUMBER}, lists of at most {LONGEST_LIST}",
                FIX,
            )


def _are_parts(value: object) -> TypeGuard[Mapping[str, Mapping]]:
    """Whether it describes parts by name, as a conditioning that combines others has them."""
    return (
        isinstance(value, Mapping)
        and 0 < len(value) <= LONGEST_LIST
        and all(isinstance(inner, Mapping) and isinstance(inner.get("_target_"), str) for inner in value.values())
    )


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
