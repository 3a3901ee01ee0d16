"""The layout of the six-site prostate T2 MR set of SAML.

Get it: https://liuquande.github.io/SAML/. Licence: none stated for the whole; those of its sources (NCI-ISBI 2013,
I2CVB, PROMISE12) hold, see homepage.
Cite: Liu et al., Shape-aware meta-learning for generalizing prostate MRI segmentation to unseen domains, MICCAI 2020.

The case id is the site with the case's rank among the site's sorted file names: ``BIDMC_00``. File numbers have gaps
(BIDMC has no ``Case01``) and the published split counts through: ``prostate_0`` to ``prostate_115`` are the cases of
BIDMC, BMC, HK, I2CVB, RUNMC, UCL in that order, each sorted. A missing file would shift the ranks after it, from
training to test: so a site must be complete.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError

ROOT_HOLDS = "a folder per site, <site>/Case00.nii.gz with Case00_segmentation.nii.gz"

SITE_SIZES = {"BIDMC": 12, "BMC": 30, "HK": 12, "I2CVB": 19, "RUNMC": 30, "UCL": 13}
LABEL_ENDINGS = ("_segmentation.nii.gz", "_Segmentation.nii.gz")


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``<site>/Case00.nii.gz`` with ``<site>/Case00_segmentation.nii.gz`` or ``_Segmentation.nii.gz``.

    A site whose folder is absent is left out.

    Raises:
        InputError: the task has another number of modalities than one, or a site another number of labels than
            published.
    """
    if len(modalities) != 1:
        raise InputError(root, f"modalities {list(modalities)}", "one, the T2", "correct the task's modalities")
    for site, size in SITE_SIZES.items():
        if not (root / site).is_dir():
            continue
        labels = {
            path.name.removesuffix(ending): path
            for ending in LABEL_ENDINGS
            for path in (root / site).glob(f"Case*{ending}")
        }
        if len(labels) != size:
            raise InputError(
                root / site,
                f"{len(labels)} labels",
                f"{size}, since cases are numbered by rank",
                "restore the files or move the folder away",
            )
        for rank, (stem, label) in enumerate(sorted(labels.items())):
            yield LayoutCase(f"{site}_{rank:02d}", (root / site / f"{stem}.nii.gz",), label)
