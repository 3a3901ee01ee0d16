"""Label maps with what their values mean, in the formats that carry it: 3D Slicer's, DICOM's two."""

from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.files import write_atomically
from uniseg.images.dicom_seg import BINARY, write_dicom_seg
from uniseg.images.dicom_source import referable_series
from uniseg.images.files import AnyPath, open_image, to_own_order
from uniseg.images.rtstruct import write_rtstruct
from uniseg.images.seg_nrrd import write_seg_nrrd
from uniseg.images.segments import SegmentTable

SEG_NRRD, SEG_DICOM, RTSTRUCT = ".seg.nrrd", ".seg.dcm", ".rtstruct.dcm"


def write_segments(label: np.ndarray, like: AnyPath, path: AnyPath, table: SegmentTable, kind: str = BINARY) -> None:
    """Write ``[Z,Y,X]`` in the canonical orientation with what its values mean; it appears whole or not at all.

    Args:
        like: the scan's file or, for DICOM files, its series, whose slices they refer to.
        path: its ending says the format: .seg.nrrd of 3D Slicer, .seg.dcm, .rtstruct.dcm.
        kind: of a DICOM segmentation: ``binary`` or ``labelmap``.

    Raises:
        InputError: another ending, no DICOM series, one that cannot be referred to, or classes that overlap in a
            labelmap.
    """
    path, name = Path(path), Path(path).name.lower()
    if not name.endswith((SEG_NRRD, SEG_DICOM, RTSTRUCT)):
        expected = f"{SEG_NRRD}, {SEG_DICOM} or {RTSTRUCT}"
        raise InputError(path, "another file ending", expected, "rename the output")
    if name.endswith(SEG_NRRD):
        affine = open_image(Path(like)).affine
        values = to_own_order(label.T, affine)
        with write_atomically(path) as part:
            write_seg_nrrd(values.astype(np.uint8 if values.max(initial=0) < 256 else np.int16), affine, table, part)
        return
    series = referable_series(Path(like), f"{name.rpartition('.')[0].rpartition('.')[2]} output")
    planes = to_own_order(label.T, series.affine).transpose()
    with write_atomically(path) as part:
        if name.endswith(SEG_DICOM):
            write_dicom_seg(planes, series, table, part, kind)
        else:
            write_rtstruct(series.on_slices(planes), series, table, part)
