"""Names of tasks, classes and cases as plain text where a library reads markup; pages from templates."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from uniseg.errors import printable

HERE = Path(__file__).parent


def plain(name: object) -> str:
    """For matplotlib, letter by letter: no mathematics between dollar signs, no legend entry lost to a leading
    underscore.
    """
    text = printable(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def cell(name: object) -> str:
    """For a cell of a Markdown table."""
    return printable(name).replace("\\", "\\\\").replace("|", r"\|")


def render_page(template: str, **values: object) -> str:
    """HTML of a template beside this file; values are text, whatever stands in them."""
    loader = FileSystemLoader(HERE)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def own_file(name: str) -> Markup:
    """A script or a style sheet beside this file, to be put into a page as it is."""
    return Markup((HERE / name).read_text("utf-8"))


def script_hash(code: str) -> str:
    """By which a content security policy knows an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def content_policy(hashes: Sequence[str]) -> str:
    """Scripts by their hashes alone, pictures inside the page, nothing from any network."""
    scripts = " ".join(hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src data:; base-uri 'none'; form-action 'none'"
    )
