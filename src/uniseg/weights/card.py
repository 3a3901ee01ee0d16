"""The model card of a shared folder."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from uniseg.environment import uniseg_version
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.licences import strictest

SIDES = ("train", "dev", "test")
LACKING = "-"


def model_card(model: UniSegModel) -> str:
    """Markdown: tasks, training data, licence, scores, versions, how to load."""
    data = {task.name: model.origin.get("data", {}).get(task.name, {}) for task in model.tasks}
    data |= model.origin.get("data", {})
    scores = model.origin.get("scores", {})
    licence = strictest(facts.get("licence", "") for facts in data.values())
    parts = [
        f"# A uniseg model of {len(model.tasks)} task{'s' if len(model.tasks) > 1 else ''}",
        f"**Strictest licence of the training data: {licence}.** Each dataset's own terms hold for these weights.",
        "Research use only: not a medical device.",
        "## Tasks",
        _table(("task", "modalities", "classes", "spacing z, y, x (mm)"), map(_task_row, model.tasks)),
        "## Training data",
        _table(("task", *SIDES, "split", "licence", "homepage"), (_data_row(name, facts) for name, facts in data.items())),
        "Cases per side; `split` is a hash of their ids. The ids themselves are in `model.json`.",
        "## Scores",
        _score_part(scores),
        "## Versions",
        f"Trained at commit {model.origin.get('commit') or 'not recorded'}; written by uniseg {uniseg_version()}.",
        "## Use",
        '```python\nfrom uniseg import Predictor, load_model\nfrom uniseg.scans.io import read_volume\n\npredictor = Predictor(load_model("<this folder>"))\n'
        f'labels = predictor.predict(read_volume(["scan.nii.gz"]), ["{model.tasks[0].name}"])\n```',
        f"```bash\npython -m uniseg.predict checkpoint=<this folder> input=scan.nii.gz output=out tasks=[{model.tasks[0].name}]\n```",
    ]
    return "\n\n".join(parts) + "\n"


def split_hash(facts: Mapping[str, Sequence[str]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the sorted lines ``<side> <case id>``."""
    lines = sorted(f"{side} {case}" for side in SIDES for case in facts.get(side, ()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _task_row(task: Task) -> tuple[str, ...]:
    return task.name, ", ".join(task.modalities), ", ".join(task.classes[1:]), ", ".join(f"{s:g}" for s in task.spacing_mm)


def _data_row(name: str, facts: Mapping) -> tuple[str, ...]:
    if not facts:
        return name, *[LACKING] * 4, "not recorded", LACKING
    counts = (str(len(facts.get(side, ()))) for side in SIDES)
    return name, *counts, f"`{split_hash(facts)}`", facts.get("licence") or "not recorded", facts.get("homepage") or LACKING


def _score_part(scores: Mapping[str, Mapping]) -> str:
    if not scores:
        return "None recorded."
    heads = ("task", "test cases", "Dice", "nnU-Net's convention", "image-blind")
    keys = ("dice", "dice_nnunet", "blind_dice")
    rows = ((name, str(own["num_cases"]), *(LACKING if own[key] is None else f"{own[key]:.3f}" for key in keys)) for name, own in scores.items())
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |" for line in lines)
