"""Whether the machine's shared memory holds what readers hand over."""

import shutil
import warnings
from pathlib import Path

from uniseg.errors import InputError
from uniseg.sampling.batch import MORE_SHARED_MEMORY
from uniseg.sampling.loader import BATCHES_PER_READER, StepSampler
from uniseg.sampling.patches import PatchReader

SHARED = Path("/dev/shm")
LOOKED_AT = 32  # steps, whose batches are taken for all
MARGINAL = 2  # of it the readers may fill one part in so many without a warning
GB = 1e9


def require_shared_memory(reader: PatchReader, sampler: StepSampler, num_workers: int, folder: Path = SHARED) -> None:
    """Readers that find no room are killed by the system without a word.

    Those of training and of validation hold their batches at the same time.

    Raises:
        InputError: the batches of the stream's first steps would not fit.
    """
    if num_workers == 0 or not folder.is_dir():
        return
    sizes = [sum(map(reader.num_bytes, sampler.batch(step))) for step in range(LOOKED_AT)]
    needed = max(sum(sizes) / len(sizes) * num_workers * BATCHES_PER_READER * 2, max(sizes))
    free = shutil.disk_usage(folder).free
    found = f"{free / GB:.2f} GB of shared memory"
    expected = f"{needed / GB:.2f} GB for the batches of {num_workers} readers"
    if needed > free:
        raise InputError(folder, found, expected, MORE_SHARED_MEMORY)
    if needed * MARGINAL > free:
        warnings.warn(f"{folder}: {found}, little more than {expected}; {MORE_SHARED_MEMORY}", stacklevel=2)
