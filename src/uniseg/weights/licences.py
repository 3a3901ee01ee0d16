"""How strict a licence of training data is."""

import re
from collections.abc import Iterable

# From the freest to the strictest; versions are not compared.
ORDER = (
    ("NONE NEEDED", "PUBLIC DOMAIN", "CC0", "PDDL"),
    ("MIT", "BSD", "APACHE"),
    ("CC BY",),
    ("CC BY-SA",),
    ("CC BY-ND",),
    ("CC BY-NC",),
    ("CC BY-NC-SA",),
    ("CC BY-NC-ND",),
    ("RESEARCH USE",),
)
UNKNOWN = len(ORDER)  # what no line names may forbid anything


def strictness(licence: str) -> int:
    """Position in ``ORDER``, ``UNKNOWN`` for what it does not name."""
    whole = licence.strip().upper()
    forms = (whole, re.sub(r"[\s-]*V?\d+(\.\d+)*$", "", whole))  # CC0 is no CC of version 0
    return next((rank for rank, names in enumerate(ORDER) if any(form in names for form in forms)), UNKNOWN)


def strictest(licences: Iterable[str]) -> str:
    """The strictest of some licences, as written; one that is not known counts as stricter than all others and is
    called so.
    """
    worst = max(licences, key=strictness, default="")
    if strictness(worst) < UNKNOWN:
        return worst
    return f"unknown ({worst or 'not recorded'})"
