"""Real trainings on the phantoms: the whole stream at the published patch, synchronisations, accuracy."""

import sys
import time
from typing import Any

from gpu.phantoms import COARSE, FINE, overrides
from gpu.scale import Scale, arguments, await_turn, emit, emit_as

CLOCK = "+callbacks.clock={_target_: gpu.callbacks.StepClock}"
COUNTER = "+callbacks.counter={_target_: gpu.callbacks.SyncCounter, first: %d, num_steps: %d}"


def main(scale: Scale, given: dict[str, Any]) -> None:
    """``folder`` of the phantoms; ``runs`` one after another, each with its ``name``, a ``part`` of ``PARTS`` and, for
    the accuracy, ``seed`` and ``precision``.
    """
    from uniseg import train  # noqa: F401 - before its turn, since imports take seconds
    from uniseg.commands.app import run

    await_turn()
    for each in given["runs"]:
        emit_as(each["name"])
        words, start = PARTS[each["part"]](scale, given | each), time.perf_counter()
        shared = [f"name={each['name']}", f"paths.outputs={given['folder']}/runs", "overwrite=true", *on_device(scale)]
        done = run(["train", *shared, *words])
        if done.code:
            sys.exit(done.line)
        if each["part"] == "accuracy":
            emit(dice=done.value, seconds=time.perf_counter() - start)


def on_device(scale: Scale) -> list[str]:
    """What is not chosen by the device itself."""
    if scale.device == "cpu":
        return ["trainer.accelerator=cpu", "data.num_workers=0", "callbacks.progress.refresh_rate=0"]
    return ["trainer.accelerator=gpu"]


def stream(scale: Scale, given: dict[str, Any]) -> list[str]:
    """Two samples of one task a step, as published; validation is left out, as it is of a steady step."""
    steps, epochs, first = (8, 2, 2) if scale.tiny else (150, 4, 60)
    return [
        *overrides(given["folder"], COARSE if scale.tiny else FINE, scale),
        f"model={scale.model}",
        f"data.patch_size={scale.patch}",
        f"data.batch_size={scale.batch}",
        "data.tasks_per_batch=1",
        f"data.steps_per_epoch={steps}",
        f"trainer.max_epochs={epochs}",
        "+trainer.limit_val_batches=0",
        CLOCK,
        COUNTER % (first, 4 if scale.tiny else 10),
    ]


def syncs(scale: Scale, given: dict[str, Any]) -> list[str]:
    """A small network: how often the host waits does not depend on the size."""
    first, num_steps = (2, 4) if scale.tiny else (20, 10)
    return [
        *small(scale, given),
        f"data.steps_per_epoch={first + num_steps + 1}",
        "trainer.max_epochs=1",
        "+trainer.limit_val_batches=0",
        COUNTER % (first, num_steps),
    ]


def accuracy(scale: Scale, given: dict[str, Any]) -> list[str]:
    steps, epochs, val_steps = (8, 1, 4) if scale.tiny else (120, 4, 40)
    return [
        *small(scale, given),
        f"data.steps_per_epoch={steps}",
        f"data.val_steps={val_steps}",
        f"trainer.max_epochs={epochs}",
        f"trainer.precision={given['precision']}",
        f"seed={given['seed']}",
    ]


def small(scale: Scale, given: dict[str, Any]) -> list[str]:
    """As the demo trains; compiling would take longer than the training."""
    return [
        *overrides(given["folder"], COARSE, scale),
        "model=uniseg_tiny",
        "augment=none",
        "optimizer=adamw",
        "optimizer.lr=0.01",
        "scheduler=poly_warmup",
        f"data.patch_size={[16, 32, 32] if scale.tiny else [24, 32, 32]}",
        f"data.batch_size={2 if scale.tiny else 8}",
        "data.foreground_fraction=0.5",
        "speed.compile=false",
        *([] if scale.device == "cpu" else ["data.num_workers=2"]),
    ]


PARTS = {"stream": stream, "syncs": syncs, "accuracy": accuracy}

if __name__ == "__main__":
    main(*arguments())
