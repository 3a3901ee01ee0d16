"""Seven tasks of one window: encoded once with the task-free halves of the decoder, against the whole network per task.

Published width. Writes rows into benchmarks/results.json.
Command: python benchmarks/bench_shared_encoding.py
"""

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from uniseg import UniSegModel
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.weights.published import published_tasks

RESULTS = Path(__file__).parent / "results.json"
WINDOW = (32, 96, 96)
REPEATS = 5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} threads"


@torch.inference_mode()
def main() -> None:
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
    row = {
        "name": "seven tasks of one 32x96x96 window, published width, encoding shared",
        "ours": round(ours, 3),
        "anchor": round(anchor, 3),
        "ratio": round(anchor / ours, 2),
        "unit": "s, median of 5; anchor: the whole network per task",
        "largest_difference_of_logits": largest,
        "command": "python benchmarks/bench_shared_encoding.py",
        "machine": machine(),
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip(),
    }
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*(r for r in rows if r["name"] != row["name"]), row], indent=1) + "\n")


if __name__ == "__main__":
    main()
