"""How a network computes on a device: the choices of ``speed=auto``, and their application."""

import inspect
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, Self

import torch

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.settings import Bound, bounded, check_fields, word
from uniseg.training.optimization import Optimization

AUTO = "auto"
Choice = bool | Literal["auto"]
CHOICE = bounded(word(AUTO) | Bound("true or false", lambda value: isinstance(value, bool), ("true", "false")))
# What a cold compilation costs (44 s on an H200) is won back in fewer steps, with room for smaller networks.
COMPILED_STEPS = 2000
ENDLESS = 2**31  # steps of a run whose epochs have no end


@dataclass(frozen=True)
class SpeedSettings:
    """How a network computes; the numbers of a step stay the same up to rounding. ``auto``: as suits the device.

    Attributes:
        cuda_graphs: training records the launches of encoder, conditioning and decoder once and replays them; auto: on
            CUDA, on one card, without ``checkpoint_activations``.
        compile: encoder and decoder are compiled on first use; auto: on CUDA without graphs, where compiler and triton
            are there and at least ``COMPILED_STEPS`` steps are left.
        channels_last: weights are laid out channels last, which the convolutions hand on to what they compute; auto:
            on CUDA and processors.
        fused_norm: norm and activation in one kernel; auto: on CUDA, where triton is there.
        joined_halves: the two halves of a decoder stage's first convolution are one in training; auto: on CUDA.
        fused_optimizer: one kernel for all weights, where ``optimizer.fused`` is null; auto: on CUDA.
        checkpoint_activations: in training, every stage keeps only its input and is computed again in the backward
            pass.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> resolve(SpeedSettings(channels_last=False), torch.device("cpu"), steps_left=100).channels_last
        False
    """

    group: ClassVar[str] = "speed"

    cuda_graphs: Choice = field(default=AUTO, metadata=CHOICE)
    compile: Choice = field(default=AUTO, metadata=CHOICE)
    channels_last: Choice = field(default=AUTO, metadata=CHOICE)
    fused_norm: Choice = field(default=AUTO, metadata=CHOICE)
    joined_halves: Choice = field(default=AUTO, metadata=CHOICE)
    fused_optimizer: Choice = field(default=AUTO, metadata=CHOICE)
    checkpoint_activations: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.cuda_graphs is True and self.checkpoint_activations:
            found, fix = "true, with speed.checkpoint_activations=true", "leave one of them out"
            raise InputError("speed.cuda_graphs", found, "a graph, whose activations stay where they are", fix)

    @classmethod
    def plain(cls, **choices: bool) -> Self:
        """Nothing but ``choices`` is on, whatever the device."""
        return cls(**{each.name: choices.get(each.name, False) for each in fields(cls)})


@dataclass(frozen=True)
class Tools:
    """What compilation and fused kernels need of a machine.

    Examples:
        >>> Tools(compiler=True, triton=False).compiler
        True
    """

    compiler: bool
    triton: bool

    @classmethod
    def installed(cls) -> Self:
        has_c = any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang"))))  # triton's own search
        return cls(shutil.which(_compiler()) is not None, has_c and find_spec("triton") is not None)


def training_device(accelerator: str) -> torch.device:
    """The kind of device that Lightning takes for ``trainer.accelerator``."""
    if accelerator in ("gpu", "cuda", AUTO) and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "mps", AUTO) and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def num_steps(trainer: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Of a run, by what its trainer limits; None and numbers below 0 limit nothing."""
    epochs, steps = (-1 if trainer.get(key) is None else trainer[key] for key in ("max_epochs", "max_steps"))
    return min([number for number in (epochs * steps_per_epoch, steps) if number >= 0], default=ENDLESS)


def num_processes(devices: int | str | Sequence[int], device: torch.device) -> int:
    """Of a run on this machine, by ``trainer.devices``."""
    if isinstance(devices, str) and "," in devices:
        devices = [int(part) for part in devices.split(",") if part.strip()]
    if str(devices) in ("auto", "-1"):
        return max(torch.cuda.device_count(), 1) if device.type == "cuda" else 1
    return max(len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else int(devices), 1)


def resolve_trainer(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a Trainer with ``precision`` and ``benchmark`` chosen by the device where they are ``auto``.

    Float16 on CUDA, where bfloat16's convolutions are half as fast; float32 elsewhere, on a processor also where a plan
    for a card says float16: Lightning would take bfloat16 there, which is neither what a plan timed nor what ``auto``
    is. cuDNN tries its kernels for every shape unless the run is deterministic.
    """
    device = training_device(str(options.get("accelerator", AUTO))).type
    on_cuda = device == "cuda"
    chosen = dict(options)
    if chosen.get("precision") == AUTO:
        chosen["precision"] = "16-mixed" if on_cuda else "32-true"
    if chosen.get("precision") == "16-mixed" and device == "cpu":
        chosen["precision"] = "32-true"
    if chosen.get("benchmark") == AUTO:
        chosen["benchmark"] = on_cuda and not chosen.get("deterministic", False)
    return chosen


def resolve(
    settings: SpeedSettings, device: torch.device, *, steps_left: int, processes: int = 1, tools: Tools | None = None
) -> SpeedSettings:
    """``settings`` with true or false in place of every ``auto``.

    Args:
        steps_left: of the run.
        processes: of the run, on all machines.
        tools: None: as installed.
    """
    tools = tools or Tools.installed()
    on_cuda = device.type == "cuda"
    has_graphs = _has_graphs(settings, device, processes)
    automatic = {
        "cuda_graphs": has_graphs,
        "compile": not (has_graphs or _reason_against_compiling(device, steps_left, tools)),
        "channels_last": device.type in ("cuda", "cpu"),
        "fused_norm": on_cuda and tools.triton,
        "joined_halves": on_cuda,
        "fused_optimizer": on_cuda,
    }
    return replace(settings, **{key: value for key, value in automatic.items() if getattr(settings, key) == AUTO})


def describe_speed(
    settings: SpeedSettings, device: torch.device, *, steps_left: int, processes: int = 1, tools: Tools | None = None
) -> str:
    """One line for the log: what is on, and why the network is not compiled.

    Args:
        settings: before ``resolve``.
    """
    tools = tools or Tools.installed()
    chosen = resolve(settings, device, steps_left=steps_left, processes=processes, tools=tools)
    on = [each.name.replace("_", " ") for each in fields(chosen) if getattr(chosen, each.name)]
    is_open = settings.compile == AUTO and not chosen.cuda_graphs
    reason = _reason_against_compiling(device, steps_left, tools) if is_open else ""
    return f"Speed: {', '.join(on) or 'nothing on'}{f'; not compiled: {reason}' if reason else ''}."


def apply_speed_settings(model: UniSegModel, settings: SpeedSettings) -> None:
    """Change how ``model`` computes, in place.

    Args:
        settings: resolved.

    Raises:
        InputError: compilation is chosen, without a C++ compiler.
    """
    if AUTO in (getattr(settings, each.name) for each in fields(settings)):
        raise ValueError(f"{settings} holds auto: call resolve first")
    if settings.channels_last:
        model.to(memory_format=torch.channels_last_3d)
    model.set_recompute(settings.checkpoint_activations)
    model.set_fused_norm(bool(settings.fused_norm))
    model.set_joined_halves(bool(settings.joined_halves))
    model.set_graphed(bool(settings.cuda_graphs))
    if settings.compile:
        _require_compiler()
        model.encoder.compile()
        model.decoder.compile()


def with_fused_optimizer(optimization: Optimization, settings: SpeedSettings) -> Optimization:
    """The same with torch's fused optimiser, where one is chosen and the optimiser's own ``fused`` is left open."""
    factory = optimization.optimizer
    if not (settings.fused_optimizer and isinstance(factory, partial)):
        return optimization
    if factory.keywords.get("fused") is not None or "fused" not in inspect.signature(factory.func).parameters:
        return optimization
    return replace(optimization, optimizer=partial(factory.func, *factory.args, **factory.keywords | {"fused": True}))


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def _has_graphs(settings: SpeedSettings, device: torch.device, processes: int) -> bool:
    if settings.cuda_graphs != AUTO:
        return bool(settings.cuda_graphs)
    return device.type == "cuda" and processes == 1 and not settings.checkpoint_activations


def _reason_against_compiling(device: torch.device, steps_left: int, tools: Tools) -> str:
    """Empty where nothing is against it."""
    if device.type != "cuda":
        return "the device is no GPU of CUDA"
    if not tools.compiler:
        return f"no C++ compiler {_compiler()}"
    if not tools.triton:
        return "no triton, or no C compiler for it"
    return f"{steps_left} steps left, fewer than {COMPILED_STEPS}" if steps_left < COMPILED_STEPS else ""


def _require_compiler() -> None:
    name = _compiler()
    if not shutil.which(name):
        raise InputError(
            "speed.compile",
            f"no C++ compiler {name}",
            "one on the path, or named by CXX",
            "install g++, or leave speed.compile false",
        )
