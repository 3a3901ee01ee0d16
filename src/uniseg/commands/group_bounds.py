"""Bounds of the groups that name their own class with ``_target_``, and rules between settings."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from uniseg.commands.bounds import Rule, settings_of
from uniseg.sampling.augment.recipe import NNUNET
from uniseg.settings import (
    CHANNELS,
    COUNT,
    NO_LIMIT,
    NOT_NEGATIVE,
    NULL,
    POSITIVE,
    PRECISIONS,
    STEPS,
    WORKERS,
    Bound,
    matching,
    number,
    sequence,
    word,
)

# Block -> beginnings of the classes whose arguments BOUNDS and RULES describe; of another class they may mean anything.
DESCRIBED: dict[str, tuple[str, ...]] = {
    "augment": ("uniseg.",),
    "loss": ("uniseg.",),
    "optimizer": ("torch.optim.SGD", "torch.optim.Adam"),
    "scheduler": ("uniseg.",),
    "model.encoder": ("uniseg.",),
    "model.conditioning": ("uniseg.",),
    "model.decoder": ("uniseg.",),
    "model.head": ("uniseg.",),
    "trainer": ("lightning.",),
    "callbacks.checkpoint": ("uniseg.",),
    "callbacks.progress": ("uniseg.",),
}
BOUNDS = {
    **{each.key: each.bound for transform in NNUNET for each in settings_of(transform, "augment.") if each.bound},
    "loss.dice_weight": NOT_NEGATIVE,
    "loss.ce_weight": NOT_NEGATIVE,
    "optimizer.lr": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": number(least=0, below=1),
    "optimizer.betas": sequence(number(least=0, below=1), length=2),
    "optimizer.eps": NOT_NEGATIVE,
    "scheduler.exponent": NOT_NEGATIVE,
    "scheduler.warmup_steps": STEPS,
    "scheduler.hold_steps": COUNT,
    "model.encoder.channels": sequence(CHANNELS),
    "model.encoder.strides": sequence(sequence(number(least=1, most=4, whole=True), length=3), least=0),
    "model.encoder.kernels": sequence(sequence(Bound("1, 3, 5 or 7", lambda value: value in (1, 3, 5, 7)), length=3)),
    "model.encoder.blocks": sequence(number(least=1, most=100, whole=True)),
    "model.encoder.expansion": sequence(number(least=1, most=16, whole=True)),
    "model.encoder.kernel": Bound("3, 5 or 7", lambda value: value in (3, 5, 7)),
    "model.encoder.depths": sequence(number(least=1, most=100, whole=True)),
    "model.encoder.heads": sequence(number(least=1, most=1024, whole=True)),
    "model.encoder.window": number(least=2, most=16, whole=True),
    "model.encoder.width": CHANNELS,
    "model.encoder.bottleneck_padding": word("zeros", "replicate"),
    "model.encoder.num_groups": CHANNELS | NULL,
    "model.conditioning.hidden_channels": CHANNELS | NULL,
    "model.conditioning.num_channels": CHANNELS | NULL,
    "model.conditioning.place": word("bottleneck", "decoder"),
    "model.conditioning.padding": word("zeros", "replicate"),
    "model.conditioning.token_channels": CHANNELS,
    "model.conditioning.lr_factor": POSITIVE,
    "model.decoder.num_convs": number(least=1, most=2, whole=True),
    "model.head.width": CHANNELS,
    "trainer.max_epochs": COUNT | NO_LIMIT,
    "trainer.max_steps": COUNT | NO_LIMIT,
    "trainer.accelerator": word("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.devices": word("auto")
    | COUNT
    | sequence(WORKERS, distinct=True)
    | NO_LIMIT
    | matching(r"[\d,-]+", "their numbers"),
    "trainer.num_nodes": COUNT,
    "trainer.precision": word("auto", *PRECISIONS, "32", "16", "bf16")
    | Bound("32, 16", lambda value: value in (32, 16)),
    "trainer.benchmark": word("auto") | Bound("true or false", lambda value: isinstance(value, bool)) | NULL,
    "trainer.gradient_clip_val": NOT_NEGATIVE | NULL,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.log_every_n_steps": STEPS,
    "trainer.num_sanity_val_steps": STEPS | NO_LIMIT,
    "callbacks.checkpoint.every_n_train_steps": COUNT | NULL,
    "callbacks.checkpoint.every_n_minutes": POSITIVE | NULL,
    "callbacks.progress.refresh_rate": STEPS,
}


def _one_less(longer: list | None, shorter: list | None) -> bool:
    return None in (longer, shorter) or len(longer) == len(shorter) + 1


def _same(one: list | None, other: list | None) -> bool:
    return None in (one, other) or len(one) == len(other)


def _fits_strategy(devices: Any, strategy: str | None) -> bool:
    number = len(devices) if isinstance(devices, list) else devices
    return strategy not in (None, "auto") or not isinstance(number, int) or number <= 1


ENCODER = "model.encoder."
RULES = (
    Rule(("loss.dice_weight", "loss.ce_weight"), lambda dice, ce: ce is None or dice + ce > 0, "one of them above 0"),
    Rule(
        ("optimizer.momentum", "optimizer.nesterov"),
        lambda momentum, nesterov: momentum > 0 or not nesterov,
        "a momentum above 0, or nesterov=false",
    ),
    Rule((f"{ENCODER}channels", f"{ENCODER}strides"), _one_less, "one stride less than stages"),
    Rule((f"{ENCODER}channels", f"{ENCODER}kernels"), _same, "as many kernels as stages"),
    Rule((f"{ENCODER}channels", f"{ENCODER}blocks"), _same, "as many blocks as stages"),
    Rule((f"{ENCODER}blocks", f"{ENCODER}strides"), _one_less, "one stride less than stages"),
    Rule((f"{ENCODER}blocks", f"{ENCODER}expansion"), _same, "as many blocks as expansions"),
    Rule((f"{ENCODER}depths", f"{ENCODER}heads"), _same, "as many depths as heads"),
    Rule(
        ("data.batch_size", "data.tasks_per_batch"),
        lambda size, tasks: tasks is None or tasks <= size,
        "no more tasks than samples",
    ),
    Rule(
        ("trainer.max_epochs", "trainer.max_steps"),
        lambda epochs, steps: epochs > 0 or (steps or 0) > 0,
        "an end: +trainer.max_steps=<steps> where max_epochs=-1",
    ),
    # A batch may not use every stem, which a strategy of several processes has to know.
    Rule(("trainer.devices", "trainer.strategy"), _fits_strategy, "trainer=ddp for several devices"),
)


def bounds_in(config: DictConfig) -> dict[str, Bound]:
    """Those of the blocks whose classes they describe."""
    return {key: bound for key, bound in BOUNDS.items() if is_described(config, key)}


def rules_in(config: DictConfig) -> Iterator[Rule]:
    """Those of the blocks whose classes they describe."""
    return (rule for rule in RULES if all(is_described(config, key) for key in rule.keys))


def is_described(config: DictConfig, key: str) -> bool:
    """Whether the key lies in no block of DESCRIBED, or its block names one of the classes there."""
    for block, classes in DESCRIBED.items():
        if key.startswith(f"{block}."):
            target = OmegaConf.select(config, f"{block}._target_")
            return isinstance(target, str) and target.startswith(classes)
    return True
