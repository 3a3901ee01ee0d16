"""The last section of a fine-tuning's page, and the verdicts of a few-shot sweep."""

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.evaluation.verdict import Verdict, judge
from uniseg.reporting.html import write_report
from uniseg.reporting.run_files import Curve
from uniseg.reporting.verdict import rate_figure, rate_figures, verdict_figure, verdict_figures
from uniseg.run_folder import RunFolder

CONTROL = {f"site/{k}": 0.4 + k / 50 for k in range(6)}
FINE_TUNED = {patient: dice + 0.2 + k / 100 for k, (patient, dice) in enumerate(CONTROL.items())}
HELPED = judge([FINE_TUNED], [CONTROL], ("run/last.ckpt", "run/control/last.ckpt"))


def test_a_page_ends_with_the_verdict(run_dir):
    HELPED.write(RunFolder(run_dir).verdict)
    page = write_report(run_dir, run_dir / "report")
    text = page.read_text()
    assert text.index('id="verdict"') > max(text.index(f'id="{name}"') for name in ("cases", "overlays", "spread"))
    assert "Did fine-tuning help: helped" in text
    assert HELPED.line() in text
    assert (run_dir / "report/figures/verdict.png").stat().st_size > 5_000


def test_a_run_without_control_has_no_such_section(run_dir):
    assert 'id="verdict"' not in write_report(run_dir, run_dir / "report").read_text()


def test_a_damaged_verdict_is_refused(run_dir):
    HELPED.write(path := RunFolder(run_dir).verdict)
    path.write_text(path.read_text().replace('"interval"', '"interwal"'))
    with pytest.raises(InputError, match="no entry 'interval'"):
        write_report(run_dir, run_dir / "report")


def test_every_patient_is_a_line():
    axes = verdict_figure(HELPED).axes[0]
    lines = [line.get_ydata() for line in axes.lines]
    assert [list(each) for each in lines[:-1]] == [[CONTROL[patient], FINE_TUNED[patient]] for patient in CONTROL]
    assert list(lines[-1]) == pytest.approx([np.mean(list(CONTROL.values())), np.mean(list(FINE_TUNED.values()))])
    assert list(verdict_figures(None)) == list(verdict_figures(Verdict("undecided", "no val case", "a"))) == []


def test_effective_rates_are_drawn_where_they_were_logged():
    curve = Curve((0, 1), (1e-3, 1e-4))
    assert [name for name, *_ in rate_figures({"rates/effective/stem": curve, "train/loss": curve})] == [
        "effective_rates"
    ]
    assert list(rate_figures({"train/loss": curve})) == []
    axes = rate_figure({"stem": curve, "encoder.0": curve}).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["stem", "encoder.0"]
