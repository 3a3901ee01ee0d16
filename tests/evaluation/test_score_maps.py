"""One label map against another."""

import numpy as np
import pytest

from samples import make_task, save_nifti
from uniseg import InputError, score

SPACING = (3.0, 1.0, 1.0)


@pytest.fixture
def maps():
    """Reference and prediction ``[Z,Y,X]``: the liver shifted by a voxel, the tumour missed, a corner ignored."""
    reference = np.zeros((6, 10, 10), np.int16)
    reference[1:5, 2:8, 2:8] = 1
    reference[2, 4, 4] = 2
    prediction = np.roll(np.where(reference == 2, 1, reference), 1, axis=2)
    reference[0, 0, 0] = -1
    prediction[0, 0, 0] = 2
    return prediction, reference


def test_arrays(maps):
    values = score(*maps, make_task(), SPACING)
    assert list(values) == ["liver", "tumour"]
    hits, predicted, expected = 4 * 6 * 5 - 1, 4 * 36, 4 * 36 - 1
    assert values["liver"]["dice"] == pytest.approx(2 * hits / (predicted + expected))
    assert values["liver"]["hd95_mm"] == 1.0
    assert values["tumour"]["dice"] == 0.0
    assert values["tumour"]["hd95_mm"] == pytest.approx(np.linalg.norm(np.multiply((6, 10, 10), SPACING)))


def test_files_know_their_spacing(maps, tmp_path):
    prediction, reference = (np.maximum(each, 0) for each in maps)
    affine = np.diag([1.0, 1, 3, 1])
    paths = [save_nifti(tmp_path / f"{k}.nii.gz", each, affine) for k, each in enumerate((prediction, reference))]
    assert score(*paths, make_task()) == score(prediction, reference, make_task(), SPACING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, r: ((p[1:], r), {}), "shapes"),
        (lambda p, r: ((p + 5, r), {}), "label values"),
        (lambda p, r: ((p.astype(float), r), {}), "type float64"),
        (lambda p, r: ((p, r), {"spacing_mm": None}), "give spacing_mm"),
    ],
)
def test_what_cannot_be_scored_is_reported(maps, change, message):
    arguments, settings = change(*maps)
    with pytest.raises(InputError, match=message):
        score(*arguments, make_task(), **{"spacing_mm": SPACING} | settings)
