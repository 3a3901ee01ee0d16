"""How the networks compute on a device: precision, memory layout, kernels."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from uniseg.errors import InputError
from uniseg.inference.settings import AUTO, InferenceSettings, usable_device
from uniseg.models.fused_norm import fused_norm_act
from uniseg.models.uniseg import UniSegModel

log = logging.getLogger(__name__)
WRITERS, MOST_WRITERS = 2, 8
HALF = {"16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Compute:
    """Where the networks run, and in which precision they multiply.

    Attributes:
        precision: ``32``, ``16`` or ``bf16``; weights and sums are float32 in each.

    Examples:
        >>> Compute.of(InferenceSettings(device="cpu")).precision
        '32'
    """

    device: torch.device
    precision: str = "32"

    @classmethod
    def of(cls, settings: InferenceSettings) -> "Compute":
        """
        Raises:
            InputError: a device that is not there.
        """
        device, precision = usable_device(settings.device), settings.precision
        if precision == AUTO:
            precision = "16" if device.type == "cuda" else "32"
        return cls(device, precision)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def value_bytes(self) -> int:
        """Of a value between two layers."""
        return 2 if self.precision in HALF else 4

    @property
    def writers(self) -> int:
        """Label maps of a scan that are written at a time; more where the processor has little else to do."""
        return max(WRITERS, min(MOST_WRITERS, os.cpu_count() or 1)) if self.is_cuda else WRITERS

    def place(self, model: UniSegModel) -> UniSegModel:
        """``model`` on the device, ready to predict; channels last where convolutions are faster so."""
        model = model.eval().to(self.device)
        if self.device.type in ("cpu", "cuda"):
            model = model.to(memory_format=torch.channels_last_3d)
        if self.is_cuda and not model.fused_norm and fused_norm_works(self.device):
            model.set_fused_norm(True)
        return model

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around what the networks compute; on a GPU convolutions are chosen by trying them, once per shape."""
        with torch.autocast(self.device.type, HALF.get(self.precision), enabled=self.precision in HALF):
            if not self.is_cuda:
                yield
                return
            cudnn = torch.backends.cudnn
            before = cudnn.benchmark
            cudnn.benchmark = not (cudnn.deterministic or torch.are_deterministic_algorithms_enabled())
            try:
                yield
            finally:
                cudnn.benchmark = before


def out_of_memory(reason: str, expected: str) -> InputError:
    """To be raised outside the handler of torch's error, which holds the tensors of all frames below it."""
    fix = "close other programs there, give inference.max_gpu_memory_gb, or inference.device=cpu"
    return InputError("inference.device", f"{reason.splitlines()[0]:.200}", expected, fix)


@cache
def fused_norm_works(device: torch.device) -> bool:
    """Whether the kernels of ``fused_norm`` can be made and run, which takes Triton and a C compiler."""
    x = torch.zeros(1, 8, 2, 2, 2, device=device).to(memory_format=torch.channels_last_3d)
    weight = torch.ones(8, device=device)
    try:
        return bool(torch.isfinite(fused_norm_act(x, weight, weight, 1e-5, 0.01)).all())
    except Exception as error:  # whatever a compiler says
        log.info("norms without the fused kernel: %s", str(error).splitlines()[:1])
        return False
