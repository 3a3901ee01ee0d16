"""The picture that preparation leaves."""

import matplotlib.pyplot as plt
import numpy as np

from samples import make_task
from uniseg.cache.store import CaseEntry, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.reporting.preview import write_preview


def test_the_first_case_with_a_target_is_shown(tmp_path):
    shape, bright = (10, 20, 20), np.zeros((1, 10, 20, 20), np.float32)
    label = np.zeros(shape, np.int16)
    label[4:6, 5:15, 5:15] = 1
    bright[0, 4:6, 5:15, 5:15] = 1
    entries = [CaseEntry("empty", "set/e", shape, "k"), CaseEntry("full", "set/f", shape, "k")]
    write_case(tmp_path, entries[0], np.zeros_like(bright), np.zeros_like(label), make_task())
    write_case(tmp_path, entries[1], bright, label, make_task())
    write_task(
        tmp_path, make_task(), entries, SplitTable((), ((),), ("empty", "full"), {"empty": "set/e", "full": "set/f"})
    )
    picture = plt.imread(write_preview(tmp_path))[..., :3]
    white = (picture > 0.95).all(-1).mean()
    assert 0.02 < white < 0.3  # three planes through the bright block
    red = (picture[..., 0] > 0.9) & (picture[..., 1] < 0.5)
    assert red.sum() > 100
    assert not list(tmp_path.glob(".part*"))
