"""Settings of prediction: the config group ``inference``, for YAML, command line and Python."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from uniseg.errors import InputError
from uniseg.settings import AXES, POSITIVE, bounded, check_fields, matching, number, word

AUTO = "auto"
MONAI, NNUNET = "monai", "nnunet"
CANONICAL, FILE, RAS = "canonical", "file", "RAS"
WINDOW_BATCH = number(least=1, most=65536, whole=True) | word(AUTO)


@dataclass(frozen=True)
class InferenceSettings:
    """How scans are predicted.

    Attributes:
        overlap: of neighbouring windows, 0 to below 1.
        windows: where they lie and how a voxel counts in them: as ``monai``'s, or as ``nnunet``'s.
        orientation: in which the network sees a scan: ``canonical``, as in training; ``file`` or ``RAS``, as networks
            of nnU-Net do.
        window_batch: windows computed at a time, at most; ``auto``: 2 on a processor, on a GPU as many as keep it busy.
        mirror_axes: test-time mirroring, some of (0, 1, 2) = (z, y, x); ``auto``: as the network's run is scored.
        skip_empty: leave out windows that hold only air.
        gate: compute a task only near windows where a first, sparse pass found something of it.
        max_memory_gb: of RAM for one scan (10^9 bytes), reading excluded; None: no limit.
        max_gpu_memory_gb: of the GPU's memory (10^9 bytes); None: what is free.
        precision: of the network's products: ``32``, ``16`` (float16), ``bf16``; ``auto``: 16 on CUDA, else 32.
        device: where the network runs; ``auto``: a GPU if there is one.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> InferenceSettings(mirror_axes=(0, 2)).overlap
        0.5
    """

    group: ClassVar[str] = "inference"

    overlap: float = field(default=0.5, metadata=bounded(number(least=0, below=1)))
    windows: str = field(default=MONAI, metadata=bounded(word(MONAI, NNUNET)))
    orientation: str = field(default=CANONICAL, metadata=bounded(word(CANONICAL, FILE, RAS)))
    window_batch: int | str = field(default=AUTO, metadata=bounded(WINDOW_BATCH))
    mirror_axes: tuple[int, ...] | str = field(default=AUTO, metadata=bounded(AXES | word(AUTO)))
    skip_empty: bool = False
    gate: bool = False
    max_memory_gb: float | None = field(default=8, metadata=bounded(POSITIVE))
    max_gpu_memory_gb: float | None = field(default=None, metadata=bounded(POSITIVE))
    precision: str = field(default=AUTO, metadata=bounded(word(AUTO, "32", "16", "bf16")))
    device: str = field(
        default=AUTO, metadata=bounded(matching(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, mps, cuda or cuda:<number>"))
    )

    def __post_init__(self) -> None:
        if isinstance(self.device, torch.device):
            object.__setattr__(self, "device", str(self.device))
        if isinstance(self.precision, int) and not isinstance(self.precision, bool):
            object.__setattr__(self, "precision", str(self.precision))
        check_fields(self)
        if self.mirror_axes != AUTO:
            object.__setattr__(self, "mirror_axes", tuple(self.mirror_axes))


def usable_device(name: str) -> torch.device:
    """The device that a setting names.

    Raises:
        InputError: this machine or this PyTorch lacks it.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        fix = "give inference.device=cpu or auto"
        raise InputError("inference.device", f"'{name}' ({reason})", "a device of this machine", fix) from error
    return device
