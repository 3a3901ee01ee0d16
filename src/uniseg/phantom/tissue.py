"""What scanners see of each structure: signal in MR, Hounsfield units in CT, uptake in PET."""

from collections.abc import Mapping, Sequence

import numpy as np

from uniseg.phantom.shapes import STRUCTURES

MR_CHANNELS = ("T1", "T1ce", "T2", "FLAIR")

# Per structure: the signal in each of MR_CHANNELS, in arbitrary units.
MR = {
    "fat": (420, 430, 380, 300), "muscle": (160, 180, 90, 110), "lung": (20, 20, 25, 20), "airway": (5, 5, 5, 5),
    "heart": (150, 250, 120, 120),
    "rib": (120, 120, 110, 90), "vertebra": (260, 260, 200, 170), "spinal_canal": (90, 90, 480, 90),
    "pelvis": (260, 260, 230, 170),
    "liver": (220, 280, 130, 140), "hepatic_vessel": (120, 350, 60, 80), "kidney": (180, 320, 260, 200),
    "spleen": (160, 260, 230, 200),
    "pancreas": (220, 280, 170, 150), "stomach": (90, 100, 420, 120), "small_bowel": (140, 200, 280, 150),
    "colon": (140, 180, 220, 150),
    "bowel_gas": (5, 5, 5, 5), "aorta": (60, 400, 30, 40), "vena_cava": (80, 380, 40, 50), "bladder": (70, 75, 560, 70),
    "prostate": (160, 200, 250, 180),
    "lung_tumour": (150, 250, 260, 220), "liver_tumour": (140, 180, 250, 220), "kidney_tumour": (150, 240, 300, 240),
    "pancreas_tumour": (140, 180, 240, 210), "colon_tumour": (150, 240, 250, 220), "lesion": (150, 250, 260, 230),
    "scalp": (400, 410, 320, 260), "skull": (50, 50, 40, 40), "csf": (70, 70, 560, 60),
    "grey_matter": (190, 200, 250, 240),
    "white_matter": (270, 280, 180, 190), "ventricle": (65, 70, 580, 50), "oedema": (180, 185, 390, 400),
    "non_enhancing": (110, 110, 460, 210),
    "enhancing": (200, 440, 300, 320),
}  # fmt: skip

# Per structure: HU without contrast medium, HU added at the full portal phase, sd of the texture in HU.
CT = {
    "background": (-1000, 0, 0), "table": (60, 0, 10), "fat": (-95, 0, 8), "muscle": (52, 12, 6),
    "lung": (-800, 15, 50), "airway": (-960, 0, 0),
    "heart": (45, 90, 6), "rib": (420, 0, 60), "vertebra": (330, 0, 60), "spinal_canal": (25, 0, 4),
    "pelvis": (380, 0, 60),
    "liver": (58, 42, 4), "hepatic_vessel": (42, 140, 4), "kidney": (34, 120, 8), "spleen": (50, 62, 4),
    "pancreas": (42, 50, 8),
    "stomach": (18, 5, 12), "small_bowel": (28, 30, 16), "colon": (22, 14, 18), "bowel_gas": (-850, 0, 40),
    "aorta": (42, 150, 4),
    "vena_cava": (42, 110, 6), "bladder": (4, 0, 2), "prostate": (40, 25, 5), "lung_tumour": (32, 28, 8),
    "liver_tumour": (24, 8, 8),
    "kidney_tumour": (26, 32, 12), "pancreas_tumour": (8, 12, 7), "colon_tumour": (62, 60, 8), "lesion": (38, 30, 8),
}  # fmt: skip

# Per structure: SUV, log sd between patients. Hot organs are no tumours.
PET = {
    "background": (0.02, 0.3), "table": (0.02, 0.3), "fat": (0.3, 0.2), "muscle": (0.7, 0.2), "lung": (0.5, 0.2),
    "airway": (0.3, 0.2), "heart": (3.5, 0.6),
    "rib": (0.9, 0.2), "vertebra": (1.5, 0.2), "spinal_canal": (1.2, 0.2), "pelvis": (1.2, 0.2), "liver": (2.3, 0.15),
    "hepatic_vessel": (1.8, 0.1),
    "kidney": (4.5, 0.4), "spleen": (1.9, 0.2), "pancreas": (1.4, 0.2), "stomach": (1.8, 0.4),
    "small_bowel": (1.6, 0.4), "colon": (1.6, 0.5),
    "bowel_gas": (0.5, 0.3), "aorta": (1.6, 0.1), "vena_cava": (1.5, 0.1), "bladder": (14, 0.4), "prostate": (1.6, 0.2),
    "lung_tumour": (8, 0.25),
    "liver_tumour": (9, 0.25), "kidney_tumour": (9, 0.25), "pancreas_tumour": (8, 0.25), "colon_tumour": (9, 0.25),
    "lesion": (8, 0.25),
}  # fmt: skip


def columns(table: Mapping[str, Sequence[float]]) -> np.ndarray:
    """float32 [columns, structures] of a table, 0 where it has no row."""
    return np.array([table.get(name, np.zeros(len(table["fat"]))) for name in STRUCTURES], np.float32).T
