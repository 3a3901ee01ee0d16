"""The layout of BraTS 2021, gliomas in four MR modalities.

Get it: https://www.synapse.org/brats2021 (registration). Licence: the terms of the challenge, see there.
Cite: Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic
classification, arXiv 2107.02314, 2021; Menze et al., The multimodal brain tumor image segmentation benchmark (BRATS),
IEEE Transactions on Medical Imaging 34, 2015.

The case id is the folder's name, ``BraTS2021_00000``; the published split uses the same names.
"""

from collections.abc import Iterator
from pathlib import Path


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[tuple[str, list[Path], Path]]:
    """``<case>/<case>_<modality>.nii.gz`` with ``<case>/<case>_seg.nii.gz``.

    The task's modalities T1, T1ce, T2, FLAIR, in any order or a part of them, are the file names in lower case.
    """
    for folder in sorted(root.iterdir()):
        label = folder / f"{folder.name}_seg.nii.gz"
        if label.exists():
            yield folder.name, [folder / f"{folder.name}_{modality.lower()}.nii.gz" for modality in modalities], label
