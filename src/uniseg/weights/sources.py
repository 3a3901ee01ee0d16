"""Files that weights come from, told apart by what is in them."""

from pathlib import Path

from uniseg.errors import InputError
from uniseg.weights.checkpoint import load_model
from uniseg.weights.licences import strictest
from uniseg.weights.published import import_published, read_state
from uniseg.weights.transfer import Source

PUBLISHED_LICENCE = "UniSeg's own, non-commercial; with the terms of its eleven datasets"
EXPECTED = "a checkpoint or an exported folder of uniseg, or a published UniSeg file"


def open_source(path: str | Path) -> Source:
    """The weights of a checkpoint or folder of uniseg, or of a published UniSeg file.

    Raises:
        InputError: missing, or none of these.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file", EXPECTED, "correct init.checkpoint")
    reasons = []
    for reader in (_own, _published):
        try:
            return reader(path)
        except InputError as error:
            reasons.append(error.found)
    raise InputError(path, "; ".join(reasons), EXPECTED, "give such a file")


def _own(path: Path) -> Source:
    model = load_model(path)
    data = model.origin.get("data", {})
    licence = strictest(data.get(name, {}).get("licence", "") for name in model.tasks.names)
    return Source(str(path), "uniseg", licence, model.state_dict(), model.tasks, {}, data)


def _published(path: Path) -> Source:
    model = import_published(path)
    biases = [name for name in read_state(path) if name.endswith("bias") and "instnorm" not in name]
    unread = dict.fromkeys(biases, "a bias that the norm behind it cancels")
    return Source(
        str(path),
        "published UniSeg",
        PUBLISHED_LICENCE,
        model.state_dict(),
        model.tasks,
        unread,
        {task.name: {"licence": PUBLISHED_LICENCE} for task in model.tasks},
    )
