"""Names of tasks, classes and cases as plain text where a library reads markup; pages from templates."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from uniseg.errors import printable


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
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)
