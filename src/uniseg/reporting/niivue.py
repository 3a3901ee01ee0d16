"""The viewer's JavaScript, out of the installed wheel of ipyniivue."""

import base64
import gzip
import re
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from uniseg.errors import InputError, printable
from uniseg.reporting.markup import script_hash

PACKAGE, BUNDLE = "ipyniivue", Path("static") / "widget.js"
# The bundle is a Jupyter widget: a module that exports no class. It makes one, whose short name stands after this line.
CLASS = re.compile(r'"Creating new Niivue instance"\);.{0,200}?=new ([\w$]+)\(')
FIX = "pip install 'uniseg[view]'"


@dataclass(frozen=True)
class Library:
    """NiiVue as a page holds it.

    Attributes:
        packed: the module, which puts its class onto ``globalThis.Niivue``: gzip, base64.
        hash: of the module, as a content security policy names it.

    Examples:
        >>> make_library("class A {}", "2.4.4", "BSD").version
        '2.4.4'
    """

    packed: str
    hash: str
    version: str
    licence: str


def find_library() -> Library | None:
    """None where the extra ``view`` is not installed; one that this page is not made for is warned of."""
    if find_spec(PACKAGE) is None:
        return None
    try:
        return load_library()
    except InputError as error:
        warnings.warn(f"no viewer in the report: {error}", stacklevel=2)
        return None


@cache
def load_library() -> Library:
    """
    Raises:
        InputError: ipyniivue is not installed, or another one than this page is made for.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError("view", f"no {PACKAGE} installed", "the library that shows volumes in a page", FIX)
    version, path = metadata.version(PACKAGE), Path(spec.origin).parent / BUNDLE
    try:
        code = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"{type(error).__name__} ({error})"
        raise InputError(path, found, f"the bundle of {PACKAGE}", f"install it again: {FIX}") from error
    return make_library(with_class(code, version), version, _licence())


def with_class(code: str, version: str) -> str:
    """The module with one line at its end that makes its class reachable.

    Raises:
        InputError: no such class in it, or what would end a script element.
    """
    name = CLASS.search(code)
    if name is None or "</script" in code.lower() or "<!--" in code:
        found = f"{PACKAGE} {printable(version)}, whose bundle is another one"
        raise InputError("view", found, "a bundle that makes one NiiVue", FIX)
    return f"{code}\nglobalThis.Niivue={name[1]};\n"


def make_library(code: str, version: str, licence: str) -> Library:
    """Packed as small as gzip can."""
    packed = base64.b64encode(gzip.compress(code.encode(), 9, mtime=0)).decode()
    return Library(packed, script_hash(code), version, licence)


def _licence() -> str:
    """The text that the wheel carries."""
    files = metadata.files(PACKAGE) or []
    return "\n\n".join(each.read_text() for each in files if "license" in each.name.lower())
