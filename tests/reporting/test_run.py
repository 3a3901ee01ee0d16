"""Reading a run folder."""

import contextlib
import json
import random
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord, read_cases, write_cases
from uniseg.images.stamp import stamp
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.run import extremes, read_run
from uniseg.reporting.run_files import Curve, read_curves
from uniseg.reporting.tables import case_table, data_rows, stage_rows, summary_line, task_table
from uniseg.run_folder import RunFolder


def test_curves_keep_the_last_value_of_an_epoch_and_skip_empty_cells(run_dir):
    curves = read_curves(run_dir / "logs" / "metrics.csv")
    assert curves["train/loss"] == Curve((0, 1, 2), (1.5, 1.1, 1.0))
    assert curves["train/loss/organs"] == Curve((0, 1), (1.6, 1.25))
    assert curves["val/pseudo_dice"] == Curve((0, 1), (0.1, 0.35))
    assert curves["val/pseudo_dice/organs/liver"] == Curve((0, 1), (0.2, 0.4))
    assert "lr-SGD" not in curves  # logged without an epoch


def test_numbers_are_those_of_the_files(run_dir):
    run = read_run(run_dir)
    assert (run.summary.mean_dice, run.summary.mean_dice_nnunet, run.summary.baseline_mean_dice) == (
        0.4253,
        0.3917,
        0.3128,
    )
    assert [task.name for task in run.tasks] == ["organs", "lesions"]
    organs = run.tasks[0]
    assert organs.summary.data.cases_per_split == {"train": 20, "val": 3, "test": 4}
    assert organs.summary.num_patients == 6
    assert [(name, each.dice, each.baseline_dice) for name, each in organs.summary.classes.items()] == [
        ("liver", 0.5507, 0.5009),
        ("spleen", 0.6508, 0.5011),
    ]
    assert [organs.dice_nnunet(name) for name in organs.class_names] == pytest.approx(
        [(0.9 + 0.6 + 0.2 + 0.5) / 4, (0.7 + 0.4 + 0.5) / 3]
    )
    assert len(run.cases) == 5


def test_extremes_rank_by_the_mean_over_classes(run_dir):
    organs, lesions = read_run(run_dir).tasks  # means: a 0.8, b 0.8, c 0.3, d 0.5
    assert [(rank, case.case_id) for rank, case in extremes(organs.cases)] == [
        ("best", "b"),
        ("median", "d"),
        ("worst", "c"),
    ]
    assert [(rank, case.case_id) for rank, case in extremes(organs.cases[2:])] == [("best", "d"), ("worst", "c")]
    assert [(rank, case.case_id) for rank, case in extremes(lesions.cases)] == [("only case", "p")]


def test_a_scan_is_turned_to_canonical_with_mapped_classes(run_dir):
    volume, reference, prediction = read_run(run_dir).records["lesions", "p"].load()
    assert volume.array.shape == (2, 12, 16, 16)
    assert volume.spacing_mm == pytest.approx((2, 1, 1.5))
    expected = np.zeros((12, 16, 16))
    expected[3:9, 4:10, 3:9] = 1
    assert np.array_equal(reference, expected)
    assert prediction.sum() == 5 * 6 * 6


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "logs/metrics.csv", "evaluation/metrics.json", "evaluation/scores.csv", "evaluation/cases.json"],
)
def test_a_missing_file_is_named(run_dir, name):
    (run_dir / name).unlink()
    with pytest.raises(InputError, match=name) as caught:
        read_run(run_dir)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("evaluation/metrics.json", '{"mean_dice": 0.5', "no JSON"),
        ("evaluation/metrics.json", '{"tasks": {}}', "mean_dice"),
        ("evaluation/cases.json", "[]", "case 'a' of task 'organs'"),
        ("evaluation/scores.csv", "task,case_id\norgans,a\n", "'patient_id'"),
        (
            "evaluation/scores.csv",
            "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\n",
            "no scores",
        ),
        ("logs/metrics.csv", "epoch,step,train/loss\n0,1,lots\n", "lots"),
        ("config.yaml", "a: [1", "ParserError"),
    ],
)
def test_a_malformed_file_is_named(run_dir, name, text, found):
    (run_dir / name).write_text(text)
    with pytest.raises(InputError, match=found) as caught:
        read_run(run_dir)
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_classes_that_differ_between_files_are_an_error(run_dir):
    path = run_dir / "evaluation" / "cases.json"
    entries = json.loads(path.read_text())
    entries[0]["definition"]["classes"] = ["background", "spleen", "liver"]
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"cases\.json.*spleen.*liver"):
        read_run(run_dir)


ODD = (None, True, -1, 1e400, "", "x", [], [1, "a"], {}, {"a": None}, float("nan"), "../../etc", 10**400)


def places(content, above=()):
    """Every node of a JSON, by the keys that lead to it."""
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield (*above, key)
        yield from places(child, (*above, key))


@pytest.mark.parametrize("name", ["metrics.json", "cases.json"])
@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_file_is_read_or_one_line(run_dir, name, seed):
    path, rng = run_dir / "evaluation" / name, random.Random(seed)
    whole = json.loads(path.read_text())
    for _ in range(25):
        content = json.loads(json.dumps(whole))
        *above, last = rng.choice(list(places(content)))
        node = content
        for key in above:
            node = node[key]
        if rng.random() < 0.3:
            del node[last]
        else:
            node[last] = rng.choice(ODD)
        path.write_text(json.dumps(content))
        with contextlib.suppress(InputError):
            run = read_run(run_dir)
            shown = [
                summary_line(run),
                stage_rows(run),
                data_rows(run),
                [(task_table(task, packaged_metrics()), case_table(task)) for task in run.tasks],
            ]
            shown += [run.records[task.name, task.cases[0].case_id].load() for task in run.tasks]
            assert shown


def test_what_is_no_longer_what_was_scored_is_shown(run_dir):
    evaluation = RunFolder(run_dir).evaluation("test")
    records = [
        replace(
            CaseRecord.of(record.task, record.source, record.case, record.prediction),
            image_stamps=tuple(map(stamp, record.case.image_paths)),
        )
        for record in read_cases(evaluation)
    ]
    write_cases(records, evaluation)
    assert read_cases(evaluation) == records
    assert len(read_run(run_dir).cases) == 5
    copy = shutil.copytree(run_dir, run_dir.with_name("copied"))
    assert len(read_run(copy).cases) == 5, "a run folder may be copied"
    for changed in (
        records[4].case.image_paths[1],
        records[0].case.label_path,
        records[2].prediction,
    ):
        whole = changed.read_bytes()
        changed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(
            InputError, match=rf"{changed.name}: found another file than the one that was scored; .*evaluate again"
        ):
            read_run(run_dir)
        changed.unlink()
        assert len(read_run(run_dir).cases) == 5, "what is gone is looked for only where it is shown"


def test_a_prediction_of_foreign_values_is_not_drawn(run_dir):
    record = read_run(run_dir).records["lesions", "p"]
    image = nib.load(record.prediction)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 3, image.affine), record.prediction)
    with pytest.raises(InputError, match=r"label values \[3\]"):
        record.load()
