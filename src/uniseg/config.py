"""Where the configuration lies, whether checked out or installed."""

from pathlib import Path

from uniseg.errors import InputError
from uniseg.files import read_json
from uniseg.task import Normalization, Task

_INSTALLED = Path(__file__).parent / "conf"
CONF_DIR = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"


def make_task(name: str, values: dict) -> Task:
    """A task from the plain containers of its YAML block; keys that describe the source are not read."""
    fields = {key: values[key] for key in ("modalities", "classes", "spacing_mm")}
    missing = [modality for modality in values["modalities"] if modality not in values["normalization"]]
    if missing:
        raise InputError(f"task '{name}'", f"no normalization for {missing}", "one for each modality", "correct the task file")
    normalization = [Normalization(**values["normalization"][modality]) for modality in values["modalities"]]
    regions = values.get("regions") or {}
    if set(regions) - set(fields["classes"][1:]) or (regions and len(regions) != len(fields["classes"]) - 1):
        raise InputError(f"task '{name}'", f"regions {list(regions)}", f"one for each of {fields['classes'][1:]}", "correct the task file")
    return Task(
        name,
        normalization=tuple(normalization),
        regions=tuple(regions[c] for c in fields["classes"][1:]) if regions else (),
        optional=values.get("optional") or (),
        reference=values.get("reference"),
        **fields,
    )


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
