"""One side of ``bench_step.py`` in a process of its own: a training step whenever a line arrives.

Imports neither uniseg nor nnU-Net, so that both environments can run it. A line of the standard input is answered by
the seconds of one step; the first answer holds the number of parameters, the last one the peak of memory beyond what
was held ahead of the network.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

CLASSES = 3
CLIP = 12
KERNELS = ((1, 3, 3), *((3, 3, 3),) * 5)
STRIDES = ((1, 2, 2), *((2, 2, 2),) * 4)


@dataclass(frozen=True)
class Setting:
    """What both sides share; ``speed`` names the parts of the config group ``speed`` that uniseg's side switches on."""

    width: int
    patch: Sequence[int]
    batch: int
    threads: int
    device: str
    precision: str
    num_tasks: int = 11
    speed: Sequence[str] = ()
    planned_decoder: bool = False

    @property
    def channels(self) -> list[int]:
        return [self.width * factor for factor in (1, 2, 4, 8, 10, 10)]


def serve(build: Callable[[Setting], nn.Module], loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
    """``build`` makes the network, ``loss_of(network, image, label)`` a forward pass with its loss."""
    setting = Setting(**json.loads(sys.argv[1]))
    torch.manual_seed(0)
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    before = _resident_mb()
    network = build(setting).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.99, nesterov=True, weight_decay=3e-5)
    image = torch.randn(setting.batch, 1, *setting.patch, device=device)
    label = torch.randint(CLASSES, (setting.batch, *setting.patch), device=device)
    _answer({"parameters": sum(p.numel() for p in network.parameters())})
    for _ in sys.stdin:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
            loss = loss_of(network, image, label)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        _answer({"seconds": time.perf_counter() - start})
    _answer({"peak_mb": _peak_mb(device, before)})


def _answer(values: dict) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _peak_mb(device: torch.device, before: float) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024
