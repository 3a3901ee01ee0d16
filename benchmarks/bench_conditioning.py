"""The price of each conditioning in a training step, against a network that is not told the task.

The demo's network, patch and batch; forward pass with the loss at every scale, backward pass, clipping, AdamW. The arms
take turns, step by step, in one process. Also: what a task costs in a file, and in decoding one more task of a window
that is encoded.

    python benchmarks/bench_conditioning.py
    python benchmarks/bench_conditioning.py --device cuda --precision bf16 --width 32 --patch 64 192 192 --batch 2
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from record import record
from torch import nn

from uniseg import Task, UniSegModel
from uniseg.environment import CONF_DIR
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.task import Normalization

UNTOLD = "none"
LOSS = DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))
STRIDES = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
KERNELS = ((1, 3, 3), *((3, 3, 3),) * 4)
WARM_UP = 3


def make_task(number: int) -> Task:
    classes = ("background", "organ", "tumour")
    return Task(f"task{number:03d}", ("CT",), classes, (3, 1.5, 1.5), (Normalization("window", lower=-325, upper=325),))


def build(name: str, given: argparse.Namespace) -> UniSegModel:
    channels = [given.width * factor for factor in (1, 2, 4, 8, 16)]
    encoder = partial(UNetEncoder, channels=channels, strides=STRIDES, kernels=KERNELS)
    head = "dynamic" if name in ("one_hot", "text_embedding") else "static"
    tasks = [make_task(number) for number in range(given.tasks)]
    torch.manual_seed(0)
    return UniSegModel.from_preset(
        "uniseg_tiny", tasks, tuple(given.patch), encoder=encoder, conditioning=name, head=head
    ).to(given.device)


def step_of(model: UniSegModel, given: argparse.Namespace) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    image = torch.randn(given.batch, 1, *given.patch, device=given.device)
    label = torch.randint(3, (given.batch, *given.patch), device=given.device)
    order = torch.arange(given.batch) % given.tasks
    tasks = [model.tasks[t] for t in order.tolist()]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bf16"):
            loss = LOSS(model(image, order), label, tasks).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 12)
        optimizer.step()

    return step


def decode_of(model: UniSegModel, given: argparse.Namespace) -> Callable[[], None]:
    with torch.no_grad():
        encoded = model.encode(torch.randn(1, 1, *given.patch, device=given.device), torch.tensor([0]))

    def decode() -> None:
        with torch.no_grad():
            model.decode(encoded, torch.tensor([0]))

    return decode


def measure(arms: dict[str, Callable[[], None]], given: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each arm, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(WARM_UP + given.repeats):
        for name, arm in arms.items():
            start = time.perf_counter()
            arm()
            if given.device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(times[WARM_UP:]) for name, times in seconds.items()}


def options() -> argparse.Namespace:
    names = sorted(path.stem for path in Path(CONF_DIR, "model", "conditioning").glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--conditionings", nargs="+", choices=names, default=[n for n in names if n != "text_embedding"]
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--patch", type=int, nargs=3, default=(24, 32, 32), metavar=("Z", "Y", "X"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    return parser.parse_args()


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    names = [UNTOLD, *(name for name in given.conditionings if name != UNTOLD)]
    models = {name: build(name, given).train() for name in names}
    where = f"width {given.width}, {'x'.join(map(str, given.patch))}, batch {given.batch}, {given.precision}"
    where = f"{where}, {given.device}"
    steps = measure({name: step_of(model, given) for name, model in models.items()}, given)
    decodes = measure({name: decode_of(model.eval(), given) for name, model in models.items()}, given)
    for name in names:
        told = f"conditioning {name}, {where}"
        record(f"training step, {told}", steps[name], steps[UNTOLD], "s, median; anchor: not told the task")
        record(f"one more task of a window, {told}", decodes[name], decodes[UNTOLD], "s, median; anchor: not told")
        size = sum(p.numel() for p in models[name].conditioning.make_task_state().parameters()) * 4 / 1000
        record(f"an added task, {told}", size, None, "kB of the conditioning in float32")


if __name__ == "__main__":
    main()
