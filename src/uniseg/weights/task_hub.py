"""The tasks that were added to a base, beside it: their files, and an index with licence, citation, scores, SHA-256."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from uniseg.errors import InputError
from uniseg.files import content_hash, read_record, require_file_name, require_text, write_atomically, write_json
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.checkpoint import load_model
from uniseg.weights.ensemble import members
from uniseg.weights.licences import strictness
from uniseg.weights.task_file import read_task_file

FOLDER, INDEX, ENDING = "tasks", "index.json", ".safetensors"
KIND, FORMAT = "uniseg tasks", 1
EXPECTED = "the index of a base's tasks"
Given = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class AddedTaskEntry:
    """A task beside its base.

    Attributes:
        name: of the task, and of its file.
        sha256: of the file.
        licence: the strictest of its training data, as the file records it or whoever added it states it; empty where
            neither does.
        homepage: of its data.
        citation: of the work that it comes from.
        scores: as a model card shows them.

    Examples:
        >>> AddedTaskEntry("ms", "0f", "CC BY 4.0", modalities=("FLAIR",), classes=("background", "lesion")).scores
        {}
    """

    name: str
    sha256: str
    licence: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    homepage: str = ""
    citation: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AddedTaskEntry":
        """
        Raises:
            KeyError, TypeError: an entry is missing, or of another type.
        """
        texts = {key: require_text(values[key]) for key in ("name", "sha256", "licence", "homepage", "citation")}
        lists = {key: tuple(map(require_text, values[key])) for key in ("modalities", "classes")}
        return cls(**texts, **lists, scores=dict(values["scores"]))


def list_tasks(base: str | Path) -> list[AddedTaskEntry]:
    """What was added beside the folder ``base``, in that order; empty where nothing was.

    Raises:
        InputError: the index is damaged.
    """
    path = Path(base) / FOLDER / INDEX
    if not path.exists():
        return []
    return read_record(path, _entries, EXPECTED, "add the tasks again")


def add_task(base: str | Path, file: str | Path, *, licence: str = "", citation: str = "") -> AddedTaskEntry:
    """Put a task file beside its base, once it is sure that it can be loaded with all that is there.

    Args:
        licence: of its training data, where the file records none; where it does, the stricter of the two holds.

    Raises:
        InputError: no exported folder, no task file, one of another base, or of a task that the base has.
    """
    base = require_folder(base)
    entries = list_tasks(base)
    load_model(base, [*installed_files(base), file])
    task, facts = read_task_file(file)
    known = [text for text in (facts.get("licence", ""), licence) if text]
    entry = AddedTaskEntry(
        task.name,
        content_hash(file),
        max(known, key=strictness, default=""),
        task.modalities,
        task.classes,
        facts.get("homepage") or "",
        citation,
    )
    with write_atomically(_file_of(base, task.name)) as part:
        shutil.copyfile(file, part)
    _write(base, [*entries, entry])
    return entry


def set_scores(base: str | Path, name: str, scores: Mapping[str, float | None]) -> None:
    """Record what an evaluation of the task said.

    Raises:
        InputError: no such task beside the base.
    """
    _require_entry(base, name)
    _write(Path(base), [replace(each, scores=scores) if each.name == name else each for each in list_tasks(base)])


def remove_task(base: str | Path, name: str) -> Path:
    """Take a task from beside its base; returns the path of the file that is no more.

    Raises:
        InputError: no such task beside the base.
    """
    _require_entry(base, name)
    _write(Path(base), [each for each in list_tasks(base) if each.name != name])  # first: a file alone is not read
    _file_of(Path(base), name).unlink(missing_ok=True)
    return _file_of(Path(base), name)


def installed_files(base: str | Path) -> list[Path]:
    """The task files beside a base, as they were when they were added.

    Raises:
        InputError: one is missing, or has changed since.
    """
    files = []
    for entry in list_tasks(base):
        path = _file_of(Path(base), entry.name)
        found = content_hash(path) if path.is_file() else ""
        if found != entry.sha256:
            fix = f"uniseg tasks remove base={base} name={entry.name}, then add it again"
            what = f"SHA-256 {found[:16]}" if found else "no such file"
            raise InputError(path, what, f"{entry.sha256[:16]}, as {INDEX} says", fix)
        files.append(path)
    return files


def with_installed(bases: Given, task_files: Iterable[str | Path]) -> list[Path]:
    """``task_files``, and before them what lies beside a single base.

    Raises:
        InputError: as of ``installed_files``.
    """
    given, found = [Path(each) for each in task_files], members(bases)
    installed = installed_files(found[0]) if len(found) == 1 and found[0].is_dir() else []
    if not (installed and given):
        return installed or given
    hashes = {content_hash(path) for path in given if path.is_file()}
    return [*(path for path in installed if content_hash(path) not in hashes), *given]


def record_installed(model: UniSegModel, bases: Given) -> None:
    """Scores, licences and citations of what lies beside a single base, into the network's provenance."""
    found = members(bases)
    entries = list_tasks(found[0]) if len(found) == 1 else []
    provenance = model.provenance
    data = {name: dict(facts) for name, facts in provenance.data.items()}
    for entry in entries:
        data.setdefault(entry.name, {})["licence"] = entry.licence
    scores = {**provenance.scores, **{entry.name: entry.scores for entry in entries if entry.scores}}
    cited = dict.fromkeys([*provenance.citations, *(entry.citation for entry in entries if entry.citation)])
    model.provenance = replace(provenance, data=data, scores=scores, citations=tuple(cited))


def _entries(content: Mapping[str, Any]) -> list[AddedTaskEntry]:
    if content["kind"] != KIND or content["format"] != FORMAT:
        raise ValueError(f"kind {content['kind']!r:.60}, format {content['format']!r:.60}")
    entries = [AddedTaskEntry.from_dict(each) for each in content["tasks"]]
    for each in entries:
        require_file_name(INDEX, "task", each.name)
    return entries


def _write(base: Path, entries: Sequence[AddedTaskEntry]) -> None:
    content = {"kind": KIND, "format": FORMAT, "tasks": [asdict(each) for each in entries]}
    write_json(base / FOLDER / INDEX, content)


def _file_of(base: Path, name: str) -> Path:
    return base / FOLDER / f"{name}{ENDING}"


def require_folder(base: str | Path) -> Path:
    """A base, beside which files can lie.

    Raises:
        InputError: no folder.
    """
    if not Path(base).is_dir():
        fix = "uniseg export checkpoint=... output=<folder> makes one of a checkpoint"
        raise InputError(base, "no folder", "a folder of uniseg export", fix)
    return Path(base)


def _require_entry(base: str | Path, name: str) -> None:
    names = [each.name for each in list_tasks(require_folder(base))]
    if name not in names:
        expected = f"one of {', '.join(names)}" if names else "a base with tasks beside it"
        raise InputError(base, f"no added task '{name}'", expected, "see uniseg tasks list")
