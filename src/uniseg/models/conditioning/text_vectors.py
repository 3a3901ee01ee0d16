"""Vectors of tasks in a file, made from their descriptions."""

from pathlib import Path

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.files import read_json


def read_vectors(path: str) -> dict[str, list[float]]:
    """The vectors of tasks by name, from ``conf/text_vectors/<path>`` or, with folders in front, from where it says.

    Raises:
        InputError: missing, or without vectors of numbers.
    """
    file = Path(path) if Path(path).parent != Path() else CONF_DIR / "text_vectors" / path
    expected, fix = "JSON with a key 'vectors': task name -> numbers", "make it: experiments/text_vectors/README.md"
    content = read_json(file, expected, fix)
    try:
        return {name: [float(value) for value in vector] for name, vector in content["vectors"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(file, f"{type(error).__name__} ({' '.join(str(error).split())})", expected, fix) from error
