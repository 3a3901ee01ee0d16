"""What a class is in the words of SNOMED CT, for files that other programs read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from uniseg.errors import InputError

CODED = re.compile(r"\d{6,18} \S.{0,63}")
ANATOMY, ABNORMAL = "123037004 Anatomical structure", "49755003 Morphologically abnormal structure"


@dataclass(frozen=True)
class ClassCodes:
    """Codes of one class, each a SNOMED CT number, a space, its meaning.

    Attributes:
        type: what it is: an organ, a kind of lesion.
        category: what kind of thing that is.
        modifier: which of several: right or left; empty where there is one.
        region: the part of the body that holds it; empty where the type says it.

    Raises:
        InputError: another form.

    Examples:
        >>> ClassCodes("64033007 Kidney", modifier="24028007 Right").category
        '123037004 Anatomical structure'
    """

    type: str
    category: str = ANATOMY
    modifier: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        for name in ("type", "category", "modifier", "region"):
            text = getattr(self, name)
            is_optional = name in ("modifier", "region") and text == ""
            if not is_optional and not (isinstance(text, str) and CODED.fullmatch(text) and text.isprintable()):
                expected = "a SNOMED CT number, a space, its meaning of at most 64 characters, as '10200004 Liver'"
                raise InputError("codes", f"{name} {text!r:.80}", expected, "correct the task file")


UNKNOWN = ClassCodes("85756007 Tissue", "85756007 Tissue")  # as 3D Slicer calls what nobody has named


def class_codes(values: object, where: str) -> ClassCodes | None:
    """Of plain containers; None where a class has none.

    Raises:
        InputError: other keys, or values of another form.
    """
    if values is None or isinstance(values, ClassCodes):
        return values
    names = [each.name for each in fields(ClassCodes)]
    if not isinstance(values, Mapping) or "type" not in values or not values.keys() <= set(names):
        raise InputError(where, f"codes {values!r:.80}", f"type, and what of {', '.join(names)} it needs", "correct it")
    return ClassCodes(**{str(key): value for key, value in values.items() if value})


def listed_codes(values: object, classes: Sequence[str], where: str) -> tuple[ClassCodes | None, ...]:
    """In the order of ``classes[1:]``; empty where no class has any.

    Args:
        values: a list in that order, or by class.

    Raises:
        InputError: of a class that is none, or of another form.
    """
    if isinstance(values, Mapping):
        unknown = [name for name in values if name not in classes[1:]]
        if unknown:
            raise InputError(where, f"codes of {unknown}", f"of {list(classes[1:])}", "correct the task file")
        values = [values.get(name) for name in classes[1:]] if values else []
    if not isinstance(values, (list, tuple)) or len(values) not in (0, len(classes) - 1):
        raise InputError(where, f"codes {values!r:.80}", f"those of {list(classes[1:])}", "correct the task file")
    return tuple(class_codes(each, where) for each in values)
