"""What a run did to older tasks is on its page, where it had any."""

import json

import pytest

from uniseg.errors import InputError
from uniseg.reporting.html import write_report
from uniseg.reporting.old_tasks import FILE

CHANGES = {
    "liver": {"largest": 0.0, "identical": True, "voxels": 4000, "moved": 0},
    "spleen": {"largest": 0.12345, "identical": False, "voxels": 4000, "moved": 50},
}


def test_the_page_tells_of_older_tasks(run_dir, tmp_path):
    assert "Tasks that the network knew before" not in write_report(run_dir, tmp_path / "without").read_text()
    (run_dir / FILE).write_text(json.dumps(CHANGES))
    page = write_report(run_dir, tmp_path / "with").read_text()
    assert '<tr><td>liver</td><td>none: bit-identical</td><td class="n">0.00% of 4,000</td></tr>' in page
    assert '<tr><td>spleen</td><td>0.123</td><td class="n">1.25% of 4,000</td></tr>' in page


def test_a_malformed_file_is_refused(run_dir, tmp_path):
    (run_dir / FILE).write_text("{")
    with pytest.raises(InputError, match=FILE):
        write_report(run_dir, tmp_path)
