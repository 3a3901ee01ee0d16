"""What one training step of a network costs, modelled or measured."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from uniseg.errors import InputError
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.models.uniseg import UniSegModel
from uniseg.planning.topology import Topology
from uniseg.task import TaskSet

DTYPES = {"32-true": torch.float32, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
CONTEXT_BYTES = 1e9  # CUDA context with its libraries
# cuDNN workspaces, blocks that the allocator keeps: gives 7.6 GB for 128³, batch 2, float16; nnU-Net publishes 7.7 for
# its default
ALLOWANCE = 1.5


@dataclass(frozen=True)
class Recipe:
    """What a training step is made of beside patch and batch.

    Attributes:
        tasks: of the run.
        model: factory of ``UniSegModel`` whose encoder takes channels, strides, kernels.
        width: channels of the first stage, of the widest.
        loss: per scale.
        optimizer: called with the parameters.
        precision: a key of ``DTYPES``.

    Raises:
        InputError: an unknown precision, or an encoder of another kind.

    Examples:
        >>> from uniseg.models.encoders.unet import UNetEncoder
        >>> from uniseg.planning.topology import fit_topology
        >>> from uniseg.task import Normalization, Task
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> encoder = partial(UNetEncoder, channels=[4], strides=[], kernels=[[3, 3, 3]])
        >>> model = partial(UniSegModel, encoder=encoder)
        >>> recipe = Recipe(TaskSet([liver]), model, (8, 32), nn.Identity(), torch.optim.SGD, "32-true")
        >>> recipe.encoder_shape(fit_topology((16, 32, 32), (1, 1, 1)))["channels"]
        [8, 16, 32, 32]
    """

    tasks: TaskSet
    model: partial
    width: tuple[int, int]
    loss: nn.Module
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    precision: str

    def __post_init__(self) -> None:
        if self.precision not in DTYPES:
            raise InputError("plan_precision", f"'{self.precision}'", f"one of {', '.join(DTYPES)}", "correct it")
        encoder = self.model.keywords["encoder"]
        if not {"channels", "strides", "kernels"} <= encoder.keywords.keys():
            found = f"{encoder.func.__name__}, whose stages are not planned"
            raise InputError("model/encoder", found, "one with channels, strides, kernels", "choose unet or resenc")

    def encoder_shape(self, topology: Topology) -> dict[str, list]:
        """Settings of the encoder: per stage channels, strides, kernels; residual blocks too where it has them, the
        last number repeated for
        stages that the configuration does not name, which is the rule of nnU-Net's ResEnc presets (1, 3, 4, 6, 6, 6,
        ...).
        """
        shape = {
            "channels": list(topology.channels(*self.width)),
            "strides": [list(stride) for stride in topology.strides],
            "kernels": [list(kernel) for kernel in topology.kernels],
        }
        blocks = self.model.keywords["encoder"].keywords.get("blocks")
        if blocks is not None:
            stages = len(shape["channels"])
            shape["blocks"] = [*blocks, *[blocks[-1]] * stages][:stages]
        return shape

    def build(self, topology: Topology) -> UniSegModel:
        shape = self.encoder_shape(topology)
        encoder, decoder = self.model.keywords["encoder"], self.model.keywords.get("decoder")
        parts = {"encoder": partial(encoder.func, **encoder.keywords | shape)}
        if decoder is not None and "kernels" in decoder.keywords:  # nnU-Net's mirror the encoder's
            parts["decoder"] = partial(decoder.func, **decoder.keywords | {"kernels": shape["kernels"]})
        return self.model(self.tasks, patch_size=topology.patch_size, **parts)

    def positions(self, batch_size: int) -> Tensor:
        """Tasks ``[B]`` of the dearest batch: the most classes, the most modalities in turn."""
        widest = [
            max(range(len(self.tasks)), key=lambda p: self.tasks[p].num_classes),
            max(range(len(self.tasks)), key=lambda p: self.tasks[p].num_modalities),
        ]
        return torch.tensor([widest[b % 2] for b in range(batch_size)])

    @property
    def num_modalities(self) -> int:
        return max(task.num_modalities for task in self.tasks)


@dataclass(frozen=True)
class StepBytes:
    """Bytes of one training step.

    Attributes:
        saved: tensors that backward needs.
        largest: the largest of them.
        weights: weights, gradients, optimiser states in float32, with copies at the lower precision.

    Examples:
        >>> StepBytes(saved=2 * 10**9, largest=5 * 10**8, weights=10**9).gigabytes
        7.0
    """

    saved: int
    largest: int
    weights: int

    @property
    def tensors_gb(self) -> float:
        """Of the tensors alone, in 10⁹ bytes: 10 to 20 % above what fused kernels keep.

        Measured on an H200, published network, 64x192x192, batch 2, float16: 5.9 allocated, for 6.4 here and 11.5 in
        ``gigabytes``, against 9.7 reserved with CUDA graphs.
        """
        return (self.saved + self.largest + self.weights) / 1e9

    @property
    def gigabytes(self) -> float:
        """Of GPU memory in 10⁹ bytes: two more of the largest for the gradients in flight, allowance, context."""
        return (CONTEXT_BYTES + ALLOWANCE * (self.saved + 2 * self.largest + self.weights)) / 1e9


@dataclass(frozen=True)
class Measurement:
    """Of one training step; ``gigabytes`` (10⁹ bytes reserved on the GPU with its context) is None on a CPU.

    Examples:
        >>> Measurement(seconds=0.4, gigabytes=7.6).gigabytes
        7.6
    """

    seconds: float
    gigabytes: float | None


@dataclass(frozen=True)
class Operations:
    """Floating-point operations: of one training step; of one window's encoding, one task's decoding at prediction.

    Examples:
        >>> Operations(step=9 * 10**12, encode=10**12, decode=2 * 10**11).encode
        1000000000000
    """

    step: int
    encode: int
    decode: int


def model_bytes(recipe: Recipe, topology: Topology, batch_size: int) -> StepBytes:
    """Counts the tensors of the very network on PyTorch's ``meta`` device, which computes shapes only."""
    dtype = DTYPES[recipe.precision]
    model, image, label, task = _on_meta(recipe, topology, batch_size, dtype)
    return step_bytes(model, partial(_loss, recipe, model, image, label, task), recipe.optimizer, dtype)


def step_bytes(
    model: nn.Module,
    forward: Callable[[], Tensor],
    new_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    dtype: torch.dtype,
) -> StepBytes:
    """Of a step of a network on the ``meta`` device.

    Args:
        forward: to the loss.
    """
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    saved: dict[int, Tensor] = {}

    def remember(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in parameters:
            saved[key] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        loss = forward()
    sizes = [tensor.untyped_storage().nbytes() for tensor in saved.values()]
    loss.backward()
    optimizer = new_optimizer(model.parameters())
    optimizer.step()
    states = sum(v.numel() for state in optimizer.state.values() for v in state.values() if torch.is_tensor(v))
    numbers = sum(p.numel() for p in model.parameters())
    copies = numbers * dtype.itemsize if dtype != torch.float32 else 0
    return StepBytes(sum(sizes), max(sizes), 4 * (2 * numbers + states) + copies)


def count_operations(recipe: Recipe, topology: Topology, batch_size: int) -> Operations:
    """Counted on the ``meta`` device; prediction is of one window."""
    model, image, label, task = _on_meta(recipe, topology, batch_size, torch.float32)
    with FlopCounterMode(display=False) as step:
        _loss(recipe, model, image, label, task).backward()
    with torch.no_grad():
        with FlopCounterMode(display=False) as encode:
            encoded = model.encode(image[:1], task[:1])
        with FlopCounterMode(display=False) as decode:
            model.decode(encoded, task[:1])
    return Operations(step.get_total_flops(), encode.get_total_flops(), decode.get_total_flops())


def measure_step(
    recipe: Recipe, topology: Topology, batch_size: int, device: torch.device, num_steps: int = 2
) -> Measurement:
    """The last of ``num_steps`` on random voxels; on a CPU in float32.

    Raises torch.OutOfMemoryError as the step would.
    """
    on_gpu, dtype = device.type == "cuda", DTYPES[recipe.precision]
    model = recipe.build(topology).to(device)
    optimizer = recipe.optimizer(model.parameters())
    image = torch.randn(batch_size, recipe.num_modalities, *topology.patch_size, device=device)
    label = torch.zeros(batch_size, *topology.patch_size, dtype=torch.int16, device=device)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(num_steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=on_gpu and dtype != torch.float32):
            loss = _loss(recipe, model, image, label, recipe.positions(batch_size))
        loss.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    return Measurement(seconds, (torch.cuda.max_memory_reserved(device) + CONTEXT_BYTES) / 1e9 if on_gpu else None)


def measure_gigabytes(recipe: Recipe, topology: Topology, batch_size: int) -> float:
    """GPU memory of one training step on this machine's GPU; infinity where it does not fit.

    Raises:
        InputError: no CUDA device.
    """
    if not torch.cuda.is_available():
        raise InputError("measure_memory", "no CUDA device", "one", "give measure_memory=false to model the memory")
    gc.collect()
    torch.cuda.empty_cache()
    try:
        return measure_step(recipe, topology, batch_size, torch.device("cuda")).gigabytes
    except torch.OutOfMemoryError:
        return float("inf")


def _on_meta(
    recipe: Recipe, topology: Topology, batch_size: int, dtype: torch.dtype
) -> tuple[UniSegModel, Tensor, Tensor, Tensor]:
    with torch.device("meta"):
        model = recipe.build(topology).to(dtype)
        image = torch.empty(batch_size, recipe.num_modalities, *topology.patch_size, dtype=dtype)
        label = torch.empty(batch_size, *topology.patch_size, dtype=torch.int16)
    return model, image, label, recipe.positions(batch_size)


def _loss(recipe: Recipe, model: UniSegModel, image: Tensor, label: Tensor, task: Tensor) -> Tensor:
    return DeepSupervision(recipe.loss)(model(image, task), label, [recipe.tasks[t] for t in task.tolist()]).mean()
