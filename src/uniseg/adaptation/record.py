"""``adapt.json`` and ``adapt.md``: what spoke for and against, scan by scan, and how it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uniseg.adaptation.candidates import Answer
from uniseg.adaptation.guard import KEEP, USE, Verdict
from uniseg.adaptation.settings import AdaptSettings
from uniseg.environment import uniseg_version
from uniseg.files import write_json, write_text
from uniseg.inference.outputs import json_path, read_prediction_json

JSON, REPORT = "adapt.json", "adapt.md"
EVIDENCE = "evidence"  # key of the JSON beside a label map


def describe_answers(answers: Mapping[str, Answer], verdicts: Mapping[str, Verdict], method: str) -> dict[str, Any]:
    """Plain containers, of one task of one scan."""
    return {
        "verdict": verdicts[method].word,
        "reason": verdicts[method].reason,
        "answer": method if verdicts[method].use else "none",
        "candidates": {
            name: answer.evidence.to_dict() | ({"verdict": asdict(verdicts[name])} if name in verdicts else {})
            for name, answer in answers.items()
        },
    }


@dataclass
class AdaptationRecord:
    """Of one call.

    Attributes:
        checkpoint_hash: of the base.
        cases: case -> task -> what ``describe_answers`` returned.
        refused: case -> why.
        site: task -> verdict on the site file; empty in mode ``scan``.
        losses: of the site's rounds.

    Examples:
        >>> AdaptationRecord("0f", AdaptSettings()).counts
        {}
    """

    checkpoint_hash: str
    settings: AdaptSettings
    cases: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    site: dict[str, Verdict] = field(default_factory=dict)
    losses: tuple[float, ...] = ()

    def read_case(self, case_id: str, labels: Mapping[str, Path]) -> None:
        """What the JSON beside the label maps of an earlier call says."""
        for name, path in labels.items():
            content = read_prediction_json(json_path(path)) or {}
            if EVIDENCE in content:
                self.cases.setdefault(case_id, {})[name] = content[EVIDENCE]

    def verdicts(self, task_name: str) -> dict[str, Verdict]:
        """Of the method in every scan of a task."""
        found = {case_id: tasks[task_name] for case_id, tasks in self.cases.items() if task_name in tasks}
        return {case_id: Verdict(each["verdict"] == USE, each["reason"]) for case_id, each in found.items()}

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Task -> scans that are answered by the method, all scans."""
        names = dict.fromkeys(name for tasks in self.cases.values() for name in tasks)
        return {name: (sum(v.use for v in self.verdicts(name).values()), len(self.verdicts(name))) for name in names}

    def write(self, folder: Path) -> None:
        """Both files, whole or not at all."""
        content = {
            "checkpoint": self.checkpoint_hash,
            "settings": asdict(self.settings),
            "site": {name: {"verdict": each.word, "reason": each.reason} for name, each in self.site.items()},
            "site_losses": [round(loss, 5) for loss in self.losses],
            "cases": self.cases,
            "refused": self.refused,
            "uniseg": uniseg_version(),
        }
        write_json(folder / JSON, content)
        write_text(folder / REPORT, self.text())

    def text(self) -> str:
        """Markdown for a person."""
        settings = self.settings
        lines = ["# Adaptation", "", f"Method `{settings.method}`, trains `{settings.trained}`, without labels.", ""]
        for name, verdict in self.site.items():
            lines.append(f"* site, task {name}: **{verdict.word}**, {verdict.reason}")
        for name, (used, total) in self.counts.items():
            lines.append(f"* task {name}: adapted answer for {used} of {total} scans, the base's for the others")
        lines += [
            "",
            "| scan | task | verdict | why | views: base, adapted | Dice with the base |",
            *["|---" * 6 + "|"],
        ]
        for case_id, tasks in self.cases.items():
            lines += [self._row(case_id, name, content) for name, content in tasks.items()]
        lines += [f"* refused {case_id}: {reason}" for case_id, reason in self.refused.items()]
        return "\n".join(lines) + "\n"

    def _row(self, case_id: str, name: str, content: Mapping[str, Any]) -> str:
        base, ours = (content["candidates"][each] for each in ("none", self.settings.method))
        word = f"**{content['verdict']}**" if content["verdict"] != KEEP else KEEP
        views = f"{base['consistency']:.3f}, {ours['consistency']:.3f}"
        return f"| {case_id} | {name} | {word} | {content['reason']} | {views} | {ours['agreement']:.3f} |"
