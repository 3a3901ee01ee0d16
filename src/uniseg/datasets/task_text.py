"""A task file's text: YAML as a person would write it."""

import re
from collections.abc import Mapping

import yaml


class _Block(dict):
    """A mapping with one line per key that has a value; PyYAML puts one of plain values into braces."""

    def __init__(self, values: Mapping) -> None:
        super().__init__((key, value) for key, value in values.items() if value not in (None, "", {}))


class _Dumper(yaml.SafeDumper):
    """Knows ``_Block``."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """In quotes where it begins like a number: OmegaConf takes ``1e5`` for one, PyYAML does not."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if re.match(r"[-+.0-9]", text) else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _Block, lambda dumper, block: dumper.represent_mapping("tag:yaml.org,2002:map", block.items(), flow_style=False)
)


def task_text(name: str, values: Mapping, comment: str) -> str:
    """The content of a task file; keys without a value are left out, those of ``source`` too."""
    values = {key: _Block(value) if key == "source" else value for key, value in values.items()}
    text = yaml.dump(
        _Block(values), Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=10_000
    )
    return f"# @package tasks.{name}\n# {comment}\n{text}"


def literal(text: str) -> str:
    """Text that OmegaConf reads as ``text``: what looks like an interpolation, ``${...}``, is not resolved."""
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
