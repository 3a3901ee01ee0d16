"""A few-shot sweep by hand."""

import json

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.evaluation.verdict import Verdict
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.fewshot import points, read_shots, shot_figure
from uniseg.reporting.fewshot_files import write_fewshot
from uniseg.run_folder import RunFolder

DICE, HD95 = (packaged_metrics()[name] for name in ("dice", "hd95_mm"))
METRICS = {"mean_dice": 0.5, "mean_dice_nnunet": 0.5, "blind_mean_dice": 0.2, "tasks": {}}
HEAD = "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml"


def write(sweep, init, strategy, number, seed, dice):
    run = sweep / f"{init}-{strategy}" / str(number) / f"seed{seed}"
    (run / "evaluation").mkdir(parents=True)
    number = "null" if number is None else number
    (run / "config.yaml").write_text(
        f"seed: {seed}\ninit: {{name: {init}}}\nstrategy: {{name: {strategy}}}\ndata: {{num_patients: {number}}}\n"
    )
    rows = [
        f"hippocampus,c{i},p{i},{c},{value},{value},0.2,1.0,1.0"
        for i, value in enumerate(dice)
        for c in ("anterior", "posterior")
    ]
    (run / "evaluation/scores.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (run / "evaluation/metrics.json").write_text(json.dumps(METRICS))


@pytest.fixture
def sweep(tmp_path):
    """Eight test patients; the pre-trained start is better by 0.2 with one patient, by nothing with all."""
    base = np.linspace(0.3, 0.5, 8)
    for seed, shift in enumerate((0.0, 0.02)):
        write(tmp_path, "upstream", "full", 1, seed, base + shift + 0.2 + np.arange(8) / 1000)
        write(tmp_path, "scratch", "full", 1, seed, base + shift)
        write(tmp_path, "scratch", "full", None, seed, base + 0.3)
        write(tmp_path, "upstream", "full", None, seed, base + 0.3)
    write(tmp_path, "upstream", "prompt_only", 1, 0, base)
    return tmp_path


def test_points_by_hand(sweep):
    found = points(read_shots(sweep, DICE), DICE)
    keys = [("scratch", 1), ("scratch", None), ("upstream", 1), ("upstream", None), ("upstream, prompt_only", 1)]
    assert [(point.start, point.num_patients) for point in found] == keys
    scratch, _, upstream, same, only = found
    assert scratch.seeds == pytest.approx((0.4, 0.42))
    assert scratch.against is None
    assert upstream.against.difference == pytest.approx(0.2035)
    assert upstream.against.p == pytest.approx(2 / 2**8)
    assert upstream.p_holm == pytest.approx(6 / 2**8)
    assert same.against.p == same.p_holm == 1
    assert only.against.difference == pytest.approx(-0.01)


def test_files(sweep):
    text = write_fewshot(sweep, sweep / "out", DICE).read_text()
    assert "| scratch | 1 | 2 | 0.410 ± 0.014 |  |  |  |" in text
    assert "| majority-vote baseline |  |  | 0.200 |  |  |  |" in text
    assert (sweep / "out/fewshot.png").stat().st_size > 10_000
    axes = shot_figure(points(read_shots(sweep, DICE), DICE), DICE, 0.2).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "all"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "scratch",
        "upstream",
        "upstream, prompt_only",
        "majority-vote baseline",
    ]


def test_a_distance_is_better_where_it_is_smaller(tmp_path):
    for start, shift in (("scratch", 5.0), ("upstream", 1.0)):
        write(tmp_path, start, "full", 1, 0, np.linspace(0.3, 0.5, 8))
        path = tmp_path / f"{start}-full/1/seed0/evaluation/scores.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([f"{lines[0]},hd95_mm", *(f"{line},{shift}" for line in lines[1:])]) + "\n")
    _, upstream = points(read_shots(tmp_path, HD95), HD95)
    assert (upstream.seeds, upstream.against.difference) == ((1.0,), 4.0)
    text = write_fewshot(tmp_path, tmp_path / "out", HD95).read_text()
    assert "test HD95, mm" in text
    assert "baseline" not in text, "it is known of the Dice alone"


def test_nothing_evaluated_is_reported(tmp_path):
    with pytest.raises(InputError, match="no evaluated run"):
        write_fewshot(tmp_path, tmp_path / "out", DICE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "7"),
        ("config.yaml", "a: [b"),
        ("config.yaml", "seed: [1]\ninit: {name: a}\nstrategy: {name: full}\ndata: {num_patients: 1}"),
        ("config.yaml", "seed: 1\ninit: {name: a}\nstrategy: {name: full}\ndata: {num_patients: many}"),
        ("evaluation/metrics.json", '{"blind_mean_dice": "none"}'),
        ("evaluation/metrics.json", "[]"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(sweep, name, content):
    path = sweep / "scratch-full/1/seed0" / name
    path.write_text(content)
    with pytest.raises(InputError, match=name.rpartition("/")[2]):
        write_fewshot(sweep, sweep / "out", DICE)
    assert not (sweep / "out").exists()


def test_a_sweep_counts_its_verdicts(tmp_path):
    base = np.linspace(0.3, 0.5, 8)
    for seed, outcome in enumerate(("helped", "helped", "undecided")):
        write(tmp_path, "scratch", "full", 2, seed, base)
        write(tmp_path, "checkpoint", "recipe", 2, seed, base + 0.1)
        run = RunFolder(tmp_path / "checkpoint-recipe/2" / f"seed{seed}")
        Verdict(outcome, "", "a").write(run.verdict)
    scratch, tuned = points(read_shots(tmp_path, DICE), DICE)
    assert scratch.verdicts == {}
    assert tuned.verdicts == {"helped": 2, "undecided": 1}
    text = write_fewshot(tmp_path, tmp_path / "out", DICE).read_text()
    assert "2 helped, 1 undecided |" in text
    assert json.loads((tmp_path / "out/fewshot.json").read_text())["points"][1]["verdicts"]["helped"] == 2
