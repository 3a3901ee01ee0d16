"""The doors: what a package of ours holds in one file each, beside what installed packages register as entry points."""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules

from uniseg.errors import InputError


def names(package: str) -> list[str]:
    """What may be chosen: the modules of ``package`` without those that all of them share, then installed ones.

    Example:
        >>> names("uniseg.normalization")[:3]
        ['fingerprint', 'window', 'zscore']
    """
    installed = {point.name for point in entry_points(group=group_of(package))}
    return [*built_in(package), *sorted(installed - set(built_in(package)))]


def built_in(package: str) -> list[str]:
    """The modules of ``package`` but ``base``, sorted."""
    return sorted(each.name for each in iter_modules(import_module(package).__path__) if each.name != "base")


def load(package: str, name: object, where: object, what: str) -> object:
    """The module ``name`` of ``package``, or what an installed package registers under that name.

    Args:
        where: what names it, for the message.
        what: what it is called there: mode, layout.

    Raises:
        InputError: nothing has that name.
    """
    if isinstance(name, str) and name in built_in(package):
        return import_module(f"{package}.{name}")
    point = _entry_point(package, name)
    if point is None:
        fix = f"correct it, or install the package that registers it under {group_of(package)}"
        raise InputError(where, f"{what} {name!r:.60}", f"one of {', '.join(names(package))}", fix)
    return point.load()


def group_of(package: str) -> str:
    """The entry-point group of a door: ``uniseg.layouts`` of ``uniseg.datasets.layouts``."""
    return f"uniseg.{package.rpartition('.')[2]}"


def _entry_point(package: str, name: object) -> EntryPoint | None:
    return next((point for point in entry_points(group=group_of(package)) if point.name == name), None)
