"""What a run began with is on its page."""

import json

import pytest

from uniseg.errors import InputError
from uniseg.reporting.html import write_report
from uniseg.reporting.weights import FILE, weight_rows

TRANSFER = {
    "source": "base.ckpt", "kind": "nnssl", "licence": "CC BY-SA 4.0", "loaded": ["a", "b"],
    "adapted": {"c": "inflate_channels"},
    "missing": {}, "skipped": {}, "coverage": 0.456,
}  # fmt: skip


def test_the_page_tells_what_trained_and_where_it_came_from(run_dir, tmp_path):
    assert weight_rows(run_dir) == []
    (run_dir / FILE).write_text(json.dumps({"trained": 29676, "total": 3923575, "transfer": TRANSFER}))
    page = write_report(run_dir, tmp_path / "with").read_text()
    for told in (
        "29,676 of 3,923,575",
        "base.ckpt (nnssl)",
        "CC BY-SA 4.0",
        "45.6%: 2 tensors as they are, 1 adapted (inflate_channels)",
    ):
        assert told in page


def test_a_run_from_new_weights_has_one_row(run_dir):
    (run_dir / FILE).write_text(json.dumps({"trained": 5, "total": 5, "transfer": None}))
    assert weight_rows(run_dir) == [("parameters that train", "5 of 5")]


def test_a_malformed_file_is_refused(run_dir):
    (run_dir / FILE).write_text("{}")
    with pytest.raises(InputError, match=FILE):
        weight_rows(run_dir)
