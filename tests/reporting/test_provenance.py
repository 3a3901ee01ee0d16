"""What a run began with, what it did to older tasks, what made the page."""

import json

import pytest

from uniseg.environment import git_commit
from uniseg.errors import InputError
from uniseg.evaluation.forgetting import ForgettingReport, TaskChange
from uniseg.reporting.html import write_report
from uniseg.reporting.provenance import forgetting_rows, weight_rows
from uniseg.run_folder import RunFolder
from uniseg.weights.transfer_report import TransferReport, WeightsReport

TRANSFER = TransferReport(
    "base.ckpt", "nnssl", "CC BY-SA 4.0", ("a", "b"), {"c": "inflate_channels"}, {}, {}, coverage=0.456
)
# As files were written before ``num_changed_voxels``.
OLD_CHANGES = {
    "liver": {"largest": 0.0, "identical": True, "voxels": 4000, "moved": 0},
    "spleen": {"largest": 0.12345, "identical": False, "voxels": 4000, "moved": 50},
}


def test_the_page_tells_what_trained_and_what_older_tasks_became(run_dir, tmp_path):
    run = RunFolder(run_dir)
    assert weight_rows(run_dir) == forgetting_rows(run_dir) == []
    WeightsReport(29676, 3923575, TRANSFER).write(run.transfer_report)
    run.forgetting_report.write_text(json.dumps(OLD_CHANGES))
    page = write_report(run_dir, tmp_path / "with").read_text()
    for text in (
        "29,676 of 3,923,575",
        "base.ckpt (nnssl)",
        "CC BY-SA 4.0",
        "45.6%: 2 tensors as they are, 1 adapted (inflate_channels)",
        '<tr><td>liver</td><td>none: bit-identical</td><td class="n">0.00% of 4,000</td></tr>',
        '<tr><td>spleen</td><td>0.123</td><td class="n">1.25% of 4,000</td></tr>',
    ):
        assert text in page


def test_a_run_from_new_weights_has_one_row(run_dir):
    WeightsReport(5, 5, None).write(RunFolder(run_dir).transfer_report)
    assert weight_rows(run_dir) == [("parameters that train", "5 of 5")]


def test_records_come_back_and_old_keys_are_read(tmp_path):
    weights, changes = WeightsReport(3, 5, TRANSFER), ForgettingReport({"liver": TaskChange(0.5, False, 8, 2)})
    for record in (weights, changes):
        record.write(tmp_path / "record.json")
        assert type(record).read(tmp_path / "record.json") == record
    (tmp_path / "record.json").write_text(json.dumps(OLD_CHANGES))
    assert ForgettingReport.read(tmp_path / "record.json").tasks["spleen"] == TaskChange(0.12345, False, 4000, 50)


@pytest.mark.parametrize("text", ["{", "[]", '{"liver": 1}', '{"liver": {"largest": 0, "identical": true}}'])
@pytest.mark.parametrize("record", [WeightsReport, ForgettingReport])
def test_a_malformed_file_is_refused(tmp_path, record, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(InputError, match=r"record\.json"):
        record.read(tmp_path / "record.json")


def test_no_commit_outside_a_checkout(tmp_path):
    assert git_commit(tmp_path) == ""
