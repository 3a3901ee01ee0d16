"""Cosines between the vectors of a few tasks."""

import sys

import numpy as np

from uniseg.models.conditioning.text_embedding import read_vectors

PAIRS = (
    ("liver", "hepatic_vessel"), ("liver", "kidney"), ("sts_ct", "sts_pet"), ("liver", "brain_tumour"),
    ("prostate", "vertebrae"), ("acdc", "left_atrium"),
    ("phantom_liver", "phantom_hepatic_vessel"), ("phantom_lung", "phantom_colon"),
)  # fmt: skip


def main() -> None:
    vectors = read_vectors("wordllama.json")
    for one, other in PAIRS:
        a, b = (np.array(vectors[name]) for name in (one, other))
        sys.stdout.write(f"| {one} | {other} | {a @ b / np.linalg.norm(a) / np.linalg.norm(b):.2f} |\n")


if __name__ == "__main__":
    main()
