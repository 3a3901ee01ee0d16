"""How the networks compute on a device: precision, memory layout, kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from uniseg.inference.settings import AUTO, InferenceSettings, usable_device
from uniseg.models.uniseg import UniSegModel

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

    def place(self, model: UniSegModel) -> UniSegModel:
        """``model`` on the device, ready to predict; channels last where convolutions are faster so."""
        model = model.eval().to(self.device)
        if self.device.type in ("cpu", "cuda"):
            model = model.to(memory_format=torch.channels_last_3d)
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
