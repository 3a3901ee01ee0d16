"""A training step of ours and of nnU-Net v2's plain U-Net, made as each of them makes it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import cycle
from typing import Any

import torch
from gpu.scale import Scale
from torch import Tensor, nn

from uniseg.training.fused import ambiguous, fill_momentum, match_strides

CLASSES = 3
MANY_STEPS = 550_000  # of the published run, for which compiling pays
CLIP = 12  # gradient norm, of both
PRECISIONS = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
CT = ("CT",)
# Channels and classes of the four phantom tasks of the stream.
MIX = (("CT",), 3), (("CT",), 2), (("T1", "T1ce", "T2", "FLAIR"), 4), (("CT", "PET"), 2)


@dataclass(frozen=True)
class Step:
    """All that a step needs; ``loss_of`` does its forward pass on the batch that is next."""

    network: nn.Module
    loss_of: Callable[[], Tensor]
    optimizer: torch.optim.Optimizer
    precision: str
    device: str
    settings: dict[str, Any]

    def runner(self) -> Callable[[], Tensor]:
        """A function that does one step and returns its loss, which nothing has waited for."""
        dtype = PRECISIONS.get(self.precision)
        scaler = torch.amp.GradScaler(self.device, enabled=self.precision == "16-mixed")
        parameters, unclear = list(self.network.parameters()), ambiguous(self.optimizer)

        def step() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, dtype, enabled=dtype is not None):
                loss = self.loss_of()
            scaler.scale(loss).backward()
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, CLIP)
            match_strides(unclear)
            scaler.step(self.optimizer)
            scaler.update()
            return loss.detach()

        return step


def anchor(scale: Scale) -> Step:
    """nnU-Net v2 as it runs by default: fp16, compiled, cuDNN's benchmark on, channels first.

    Raises:
        ImportError: it is not there.
    """
    import anchor_step
    from step_worker import Setting

    patch = [32, 64, 64] if scale.tiny else scale.patch
    setting = Setting(scale.width, patch, scale.batch, torch.get_num_threads(), scale.device, "")
    on_card = scale.device == "cuda"
    network = anchor_step.build(setting).to(scale.device).train()
    compiled = torch.compile(network) if on_card else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
    image, label = _batch(scale.batch, 1, CLASSES, patch, scale.device)
    precision = "16-mixed" if on_card else "32-true"
    settings = {"precision": precision, "compile": on_card, "benchmark": True, "channels_last": False}
    return Step(
        network, lambda: anchor_step.loss_of(compiled, image, label), optimizer, precision, scale.device, settings
    )


def ours(scale: Scale, changes: dict[str, Any], *, mixed: bool) -> Step:
    """The defaults of ``speed=auto``, but for ``changes``.

    Args:
        changes: fields of ``SpeedSettings``, ``precision``.
        mixed: one batch of each of the stream's four tasks in turn; else one of the first of eleven CT tasks.
    """
    from uniseg.losses.deep_supervision import DeepSupervision
    from uniseg.model import UniSegModel
    from uniseg.training import speed
    from uniseg.training.optimization import Optimization

    tasks = [_task(i, *each) for i, each in enumerate(MIX if mixed else [(CT, CLASSES)] * 11)]
    model = UniSegModel.from_preset(scale.model, tasks, scale.patch)
    settings = speed_settings(scale.device, changes)
    speed.apply_speed_settings(model, settings)
    model.to(scale.device).train()
    optimization = speed.with_fused_optimizer(Optimization(), settings)
    loss = DeepSupervision(optimization.loss)
    batches = _batches(scale, tasks, mixed=mixed)

    def loss_of() -> Tensor:
        image, label, index = next(batches)
        return loss(model(image, index), label, [model.tasks[i] for i in index.tolist()]).mean()

    precision = changes.get("precision") or ("16-mixed" if scale.device == "cuda" else "32-true")
    optimizer = optimization.optimizer(model.parameters())
    fill_momentum(optimizer)
    return Step(model, loss_of, optimizer, precision, scale.device, {"precision": precision, **asdict(settings)})


def speed_settings(device: str, changes: dict[str, Any]) -> Any:
    """What a long training takes on a device, but for ``changes``."""
    from uniseg.training import speed

    known = {each.name for each in fields(speed.SpeedSettings)}
    settings = speed.SpeedSettings(**{name: value for name, value in changes.items() if name in known})
    return speed.resolve(settings, torch.device(device), steps_left=MANY_STEPS)


def _batches(scale: Scale, tasks: Sequence, *, mixed: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    chosen = range(len(tasks)) if mixed else [0]
    made = []
    for number in chosen:
        shape = (scale.batch, tasks[number].num_modalities, tasks[number].num_classes, scale.patch, scale.device)
        image, label = _batch(*shape)
        made.append((image, label.to(torch.int16), torch.full((scale.batch,), number)))
    return cycle(made)


def _batch(batch: int, channels: int, classes: int, patch: Sequence[int], device: str) -> tuple[Tensor, Tensor]:
    image = torch.randn(batch, channels, *patch, device=device)
    return image, torch.randint(classes, (batch, *patch), device=device)


def _task(number: int, modalities: tuple[str, ...], num_classes: int) -> Any:
    from uniseg.task import Normalization, Task

    classes = ("background", *(f"class{k}" for k in range(1, num_classes)))
    normalization = tuple(Normalization("zscore", masked=False) for _ in modalities)
    return Task(f"task{number:02d}", modalities, classes, (3, 1.5, 1.5), normalization)
