"""The model card of a shared folder."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from uniseg.datasets.split_file import FORMER_NAMES, SPLITS
from uniseg.environment import uniseg_version
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.front_matter import front_matter
from uniseg.weights.licences import strictest

LACKING = "-"
# What Markdown, HTML or GitHub's formulas would interpret; an underscore inside a word is text.
MARKUP = re.compile(r"[\\`*\[\]<>|&~$!#]|(?<![^\W_])_|_(?![^\W_])")


def model_card(model: UniSegModel) -> str:
    """Markdown: tasks, training data, licence, scores, versions, how to load."""
    provenance = model.provenance
    data: dict[str, Mapping] = {task.name: {} for task in model.tasks} | dict(provenance.data)
    licence = strictest(facts.get("licence", "") for facts in data.values())
    names = [task.name for task in model.tasks]
    example = next((name for name in names if re.fullmatch(r"\w+", name)), "<task>")
    parts = [
        f"# A uniseg model of {len(model.tasks)} task{'s' if len(model.tasks) > 1 else ''}",
        f"**Strictest licence of the training data: {_text(licence)}.** Each dataset's own terms hold for these "
        f"weights.",
        *([f"Licence of the weights: {_text(provenance.licence)}."] if provenance.licence else []),
        "Research use only: not a medical device.",
        "## Tasks",
        _table(("task", "modalities", "classes", "spacing z, y, x (mm)"), map(_task_row, model.tasks)),
        "## Training data",
        _table(
            ("task", *SPLITS, "hash", "licence", "homepage"), (_data_row(name, facts) for name, facts in data.items())
        ),
        "Cases per split; `hash` is one of their ids. The ids themselves are in `model.json`.",
        "## Scores",
        _score_part(provenance.scores),
        "## Versions",
        f"Trained at commit {_text(provenance.commit or 'not recorded')}; written by uniseg {uniseg_version()}.",
        *(["## Cite", *map(_text, provenance.cited)] if provenance.cited else []),
        "## Use",
        "```python\nfrom uniseg import Predictor, load_model, read_volume\n\n"
        'predictor = Predictor(load_model("<this folder>"))\n'
        f'labels = predictor.predict(read_volume(["scan.nii.gz"]), ["{example}"])\n```',
        f"```bash\npython -m uniseg.predict checkpoint=<this folder> input=scan.nii.gz output=out "
        f"tasks=[{example}]\n```",
    ]
    return front_matter(model, licence) + "\n" + "\n\n".join(parts) + "\n"


def split_hash(facts: Mapping[str, Sequence[str]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the sorted lines ``<split> <case id>``.

    A val case counts as dev, its name in earlier versions, so that the hash of a division never changes.
    """
    former = {today: name for name, today in FORMER_NAMES.items()}
    lines = sorted(f"{former.get(split, split)} {case}" for split in SPLITS for case in facts.get(split, ()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _task_row(task: Task) -> tuple[str, ...]:
    return (
        _text(task.name),
        _text(", ".join(task.modalities)),
        _text(", ".join(task.classes[1:])),
        ", ".join(f"{s:g}" for s in task.spacing_mm),
    )


def _data_row(name: str, facts: Mapping) -> tuple[str, ...]:
    if not facts:
        return _text(name), *[LACKING] * 4, "not recorded", LACKING
    counts = (str(len(facts.get(split, ()))) for split in SPLITS)
    licence, homepage = facts.get("licence") or "not recorded", facts.get("homepage") or LACKING
    return _text(name), *counts, f"`{split_hash(facts)}`", _text(licence), _text(homepage)


def _score_part(scores: Mapping[str, Mapping]) -> str:
    if not scores:
        return "None recorded."
    heads = ("task", "test cases", "Dice", "nnU-Net's convention", "majority-vote baseline")
    keys = ("dice", "dice_nnunet", "blind_dice")
    return _table(
        heads,
        (
            (_text(name), str(numbers.get("num_cases", LACKING)), *(_score(numbers.get(key)) for key in keys))
            for name, numbers in scores.items()
        ),
    )


def _score(value: float | None) -> str:
    return LACKING if value is None else f"{value:.3f}"


def _text(text: str) -> str:
    """One line of Markdown that shows ``text`` itself, whatever stands in it."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of cells that are Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *rows])
