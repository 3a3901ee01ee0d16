"""nnU-Net v2's reader, timed; run by ``bench_reader.py`` in nnU-Net's own environment.

Takes a folder of ``<case>.npz`` (image ``[1,Z,Y,X]``, label ``[Z,Y,X]``), writes them as nnU-Net does, prints the
seconds of every batch as JSON.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

ANGLE = (-np.pi / 6, np.pi / 6)
WARM_UP = 20


def write(source: Path, folder: Path, patch: tuple[int, ...]) -> None:
    for path in sorted(source.glob("*.npz")):
        with np.load(path) as arrays:
            image, label = arrays["image"].astype(np.float32), arrays["label"].astype(np.int16)[None]
        locations = DefaultPreprocessor._sample_foreground_locations(label, [1, 2])
        blocks, chunks = comp_blosc2_params(image.shape, patch, image.itemsize)
        label_blocks, label_chunks = comp_blosc2_params(label.shape, patch, label.itemsize)
        nnUNetDatasetBlosc2.save_case(
            image, label, {"class_locations": locations}, str(folder / path.stem),
            chunks=chunks, blocks=blocks, chunks_seg=label_chunks, blocks_seg=label_blocks,
        )  # fmt: skip


def main(source: str, folder: str, batches: int, batch_size: int, *patch: int) -> None:
    torch.set_num_threads(1)
    np.random.seed(0)
    if not any(Path(folder).iterdir()):
        write(Path(source), Path(folder), patch)
    initial = get_patch_size(patch, ANGLE, ANGLE, ANGLE, (0.85, 1.25))
    labels = SimpleNamespace(all_labels=[0, 1, 2], has_ignore_label=False)
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(folder), batch_size, initial, patch, labels, oversample_foreground_percent=0.33
    )
    seconds = []
    for number in range(-WARM_UP, batches):
        start = time.perf_counter()
        next(loader)
        if number >= 0:
            seconds.append(time.perf_counter() - start)
    size = sum(path.stat().st_size for path in Path(folder).glob("*.b2nd"))
    sys.stdout.write(json.dumps({"initial": [int(n) for n in initial], "seconds": seconds, "bytes": size}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:]))
