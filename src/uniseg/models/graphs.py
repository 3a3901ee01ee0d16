"""A function of tensors as two CUDA graphs: the launches of its forward and backward pass, recorded once.

A training step of a 3D network is some thousand small launches; a processor that makes each anew is slower than the
card that runs them. Recorded, they are two.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

WARM_UP = 3  # runs before the recording, in which cuDNN chooses and Triton compiles its kernels


class GraphedFunction:
    """Computes ``function(*inputs)`` as it was recorded for inputs of these shapes, with gradients.

    What the function reads beside its inputs, the parameters first of all, must stay where it is in memory; what it
    decides must not depend on values. The outputs are overwritten by the next call.

    Args:
        function: of the inputs, to a tuple of tensors.
        parameters: that ask for a gradient.
        inputs: as those of every call are: shapes, types, whether they ask for a gradient.

    Examples:
        >>> layer = nn.Linear(4, 2)
        >>> graphed = GraphedFunction(lambda x: (layer(x),), layer.parameters(), [torch.zeros(3, 4)])  # doctest: +SKIP
        >>> graphed(torch.ones(3, 4))[0].shape  # doctest: +SKIP
        torch.Size([3, 2])
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], parameters: Sequence[nn.Parameter], inputs: Sequence[Tensor]
    ) -> None:
        self._function, self._parameters = function, tuple(parameters)
        self._newest: tuple[Tensor, ...] = ()  # outputs with how they came about, which the recording alone needs
        self._inputs = [torch.empty_like(x).copy_(x.detach()).requires_grad_(x.requires_grad) for x in inputs]
        self._surface = [x for x in self._inputs if x.requires_grad] + list(self._parameters)
        self._output_gradients = _warm_up(self._run, self._surface)
        self._newest = ()  # what the warm-up kept is free for the recording
        pool = torch.cuda.graph_pool_handle()
        self._forward, outputs = _record(self._run, pool)
        self._tracked = tuple(y.requires_grad for y in outputs)
        self._backward, self._gradients = _record(self._differentiate, pool)
        self._outputs = tuple(y.detach() for y in outputs)
        self._newest = ()
        self._calls = 0

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return _Replay.apply(self, len(inputs), *inputs, *self._parameters)

    def _run(self) -> tuple[Tensor, ...]:
        with _without_weight_cache():
            self._newest = self._function(*self._inputs)
        return self._newest

    def _differentiate(self) -> tuple[Tensor | None, ...]:
        wanted = [y for y in self._newest if y.requires_grad]
        given = [gradient for gradient in self._output_gradients if gradient is not None]
        with torch.autocast("cuda", enabled=False):
            return torch.autograd.grad(wanted, self._surface, given, allow_unused=True)

    def _replay_forward(self, inputs: Sequence[Tensor]) -> int:
        """The number of the call."""
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.detach().copy_(given)
        self._forward.replay()
        self._calls += 1
        return self._calls

    def _replay_backward(self, call: int, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Of the inputs and the parameters."""
        if call != self._calls:
            raise RuntimeError("a backward pass through a graph after another forward pass, which has overwritten it")
        for kept, given in zip(self._output_gradients, gradients, strict=True):
            if kept is not None:
                kept.zero_() if given is None else kept.copy_(given)
        self._backward.replay()
        num_inputs = len(self._surface) - len(self._parameters)
        of_inputs = iter(self._gradients[:num_inputs])
        of_parameters = self._gradients[num_inputs:]
        # Copies, since what a graph wrote is overwritten by its next run, and gradients may add up over several.
        copies = iter(torch._foreach_mul([gradient for gradient in of_parameters if gradient is not None], 1.0))
        return [
            *(next(of_inputs) if x.requires_grad else None for x in self._inputs),
            *(None if gradient is None else next(copies) for gradient in of_parameters),
        ]


class GraphCache:
    """The graph of a function for the inputs, the precision and the trained parameters of the last call; recorded anew
    when any of these changes. What cannot be recorded is computed as without graphs.

    Args:
        parts: modules that hold all parameters which the function reads.

    Examples:
        >>> cache = GraphCache([nn.Linear(4, 2)])
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        self._parts = tuple(parts)
        self._key: tuple = ()
        self._graphed: GraphedFunction | None = None

    def __call__(self, function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
        """``function(*inputs)``; without a graph where nothing is to be learned."""
        parameters = [parameter for part in self._parts for parameter in part.parameters()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if not trained:
            return function(*inputs)
        precision = (torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"))
        given = tuple((x.shape, x.dtype, x.requires_grad) for x in inputs)  # strides may differ: inputs are copied
        read = [*parameters, *(buffer for part in self._parts for buffer in part.buffers())]
        key = (given, precision, tuple((each.data_ptr(), each.requires_grad) for each in read))
        if key != self._key:
            self.clear()  # its memory is free for the next one
            self._graphed, self._key = _recorded(function, trained, inputs), key
        return function(*inputs) if self._graphed is None else self._graphed(*inputs)

    def clear(self) -> None:
        """Forget the graph and give its memory back."""
        self._graphed, self._key = None, ()

    def __deepcopy__(self, memo: dict) -> None:
        """A copy of a network records its own where it is told to: graphs are bound to the weights of one."""


def _recorded(
    function: Callable[..., tuple[Tensor, ...]], trained: Sequence[nn.Parameter], inputs: Sequence[Tensor]
) -> GraphedFunction | None:
    """None where a part of the network reads what the card computes, or the memory does not hold a graph too."""
    try:
        return GraphedFunction(function, trained, inputs)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        log.warning(f"no CUDA graph of this network ({reason}): its launches are made anew in every step")
    torch.cuda.synchronize()
    return None


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graphed: GraphedFunction, num_inputs: int, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.graphed, ctx.call = graphed, graphed._replay_forward(given[:num_inputs])
        ctx.set_materialize_grads(False)
        outputs = tuple(y.detach() for y in graphed._outputs)
        ctx.mark_non_differentiable(*(y for y, tracked in zip(outputs, graphed._tracked, strict=True) if not tracked))
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.graphed._replay_backward(ctx.call, gradients))


def _warm_up(run: Callable[[], tuple[Tensor, ...]], surface: Sequence[Tensor]) -> list[Tensor | None]:
    """Zeros in place of the gradient of each output that has one.

    Runs on a stream of its own, as the recording does.
    """
    current, other = torch.cuda.current_stream(), torch.cuda.Stream()
    other.wait_stream(current)
    with torch.cuda.stream(other):
        for _ in range(WARM_UP):
            outputs = run()
            wanted = [y for y in outputs if y.requires_grad]
            with torch.autocast("cuda", enabled=False):
                torch.autograd.grad(wanted, surface, [torch.zeros_like(y) for y in wanted], allow_unused=True)
    current.wait_stream(other)
    return [torch.zeros_like(y) if y.requires_grad else None for y in outputs]


def _record(function: Callable[[], tuple], pool: Any) -> tuple[torch.cuda.CUDAGraph, tuple]:
    """Other threads, which make batches on streams of their own, may go on meanwhile."""
    graph = torch.cuda.CUDAGraph()
    try:
        # After a failure torch leaves its own stream the current one, and the allocator as if it still recorded: memory
        # that several streams have used is kept back then, which are all batches.
        back = torch.cuda.stream(torch.cuda.current_stream())
        with back, torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = function()
    except RuntimeError:
        with suppress(RuntimeError):  # where it had not begun, or has ended after all
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            torch._C._cuda_releasePool(torch.cuda.current_device(), pool)
        raise
    return graph, result


def _without_weight_cache() -> AbstractContextManager:
    """Autocast as it is, but for its cache of weights, which is of another memory than the graph's."""
    enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    return torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False)
