"""Seven tasks of one window: encoded once with the task-free halves of the decoder, against the whole network per task.

Published width.

    python benchmarks/bench_shared_encoding.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from record import record

from uniseg import UniSegModel
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.weights.foreign.published_tasks import published_tasks

WINDOW = (32, 96, 96)
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.inference_mode()
def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    model = UniSegModel(
        published_tasks(),
        patch_size=(64, 192, 192),
        encoder=partial(
            UNetEncoder,
            channels=[32, 64, 128, 256, 320, 320],
            strides=[[1, 2, 2], *[[2, 2, 2]] * 4],
            kernels=[[1, 3, 3], *[[3, 3, 3]] * 5],
        ),
        conditioning=partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        head=StaticHead,
    ).eval()
    image, tasks = torch.randn(1, 1, *WINDOW), [torch.tensor([t]) for t in range(7)]

    def shared() -> list[torch.Tensor]:
        encoded = model.encode(image, tasks[0])
        return [model.decode(encoded, task)[0] for task in tasks]

    def apart() -> list[torch.Tensor]:
        return [model(image, task)[0] for task in tasks]

    largest = max(float((a - b).abs().max()) for a, b in zip(shared(), apart(), strict=True))
    pairs = [(seconds(shared), seconds(apart)) for _ in range(REPEATS)]
    ours, anchor = (statistics.median(column) for column in zip(*pairs, strict=True))
    name = "seven tasks of one 32x96x96 window, published width, encoding shared"
    record(name, ours, anchor, f"s, median of {REPEATS}; anchor: the whole network per task")
    record(f"{name}, largest difference of a logit", largest, None, "to the whole network per task")


if __name__ == "__main__":
    main()
