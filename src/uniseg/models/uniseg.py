"""The network: stem, encoder, conditioning, decoder, head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from uniseg.errors import InputError
from uniseg.models.blocks import init_weights
from uniseg.models.conditioning.base import Conditioning
from uniseg.models.decoder import Decoder
from uniseg.models.encoders.base import Encoder
from uniseg.models.heads.base import Head
from uniseg.models.stem import Stem
from uniseg.task import TaskSet


@dataclass(frozen=True)
class Encoded:
    """What a window gives before any task is asked: bottleneck ``[B,C,z,y,x]``, task-free halves of the decoder, finest first."""

    bottleneck: Tensor
    skip_terms: list[Tensor]


class UniSegModel(nn.Module):
    """One network for a set of tasks.

    Args:
        tasks: what it can be asked; fixes stems, prompts, head width.
        patch_size: (Z, Y, X) voxels it is trained with; other windows work where they fit the strides.
        encoder: called without arguments.
        conditioning: called with ``channels``, ``num_tasks``, ``size``.
        head: called with ``channels``, ``num_classes``.

    Attributes:
        config: plain containers that rebuild the network (see ``uniseg.weights.checkpoint``).
        origin: plain containers that say how the weights came to be.

    Raises:
        InputError: the patch does not fit the encoder's strides.
    """

    def __init__(
        self,
        tasks: TaskSet,
        *,
        patch_size: Sequence[int],
        encoder: Callable[..., Encoder],
        conditioning: Callable[..., Conditioning],
        head: Callable[..., Head],
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.patch_size = tuple(patch_size)
        self.encoder = encoder()
        channels, strides = self.encoder.channels, self.encoder.strides
        self.stride = tuple(prod(s) for s in zip(*strides, strict=True))
        self.check_window(self.patch_size)
        self.stem = Stem((task.num_modalities for task in tasks), channels[0], self.encoder.stem_kernel)
        size = tuple(p // s for p, s in zip(self.patch_size, self.stride, strict=True))
        self.conditioning = conditioning(channels=channels[-1], num_tasks=len(tasks), size=size)
        self.decoder = Decoder(channels=channels, strides=strides, bottleneck_channels=self.conditioning.out_channels)
        self.head = head(channels=self.decoder.channels, num_classes=[task.num_classes for task in tasks])
        init_weights(self)
        self.decoder.init_halves()
        self.config = {
            "patch_size": list(self.patch_size),
            "encoder": describe(encoder),
            "conditioning": describe(conditioning) | self.conditioning.settings(),
            "head": describe(head),
        }
        self.origin: dict = {}

    def check_window(self, size: Sequence[int]) -> None:
        """Whether a window of ``size`` (Z, Y, X) voxels can be computed.

        Raises:
            InputError: not a multiple of the strides, or a bottleneck of one voxel, which instance norm cannot take.
        """
        if any(n % s for n, s in zip(size, self.stride, strict=True)) or prod(n // s for n, s in zip(size, self.stride, strict=True)) < 2:
            raise InputError("window", f"{tuple(size)} voxels", f"multiples of {self.stride} with at least 2 bottleneck voxels", "choose another patch_size")

    def forward(self, image: Tensor, task: Tensor) -> list[Tensor]:
        """``image [B,M,Z,Y,X]``, ``task [B]`` (positions in ``tasks``) -> logits, finest first, each ``[B,K,...]``.

        M is the widest task in the batch; narrower samples are zero-padded. K is the widest task in the batch; surplus rows are -inf.
        """
        return self.decode(self.encode(image, task), task)

    def encode(self, image: Tensor, task: Tensor) -> Encoded:
        """What all tasks of one modality count share; ``task`` is asked for its number of modalities only."""
        self.check_window(image.shape[2:])
        features = self.encoder(self.stem(image, [self.tasks[t].num_modalities for t in task.tolist()]))
        return Encoded(features[-1], self.decoder.skip_terms(features[:-1]))

    def decode(self, encoded: Encoded, task: Tensor) -> list[Tensor]:
        """Logits of ``task [B]``; an ``encoded`` of one window serves any number of tasks."""
        num_classes = [self.tasks[t].num_classes for t in task.tolist()]
        task = task.to(encoded.bottleneck.device)
        bottleneck = self.conditioning(encoded.bottleneck, task)
        pyramid = self.decoder(bottleneck, encoded.skip_terms)
        return self.head(pyramid, task, num_classes)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def describe(factory: Callable) -> dict:
    """Plain containers that name a factory: ``_target_`` with the keywords bound to it."""
    keywords = factory.keywords if isinstance(factory, partial) else {}
    target = factory.func if isinstance(factory, partial) else factory
    return {"_target_": f"{target.__module__}.{target.__qualname__}", **{k: _plain(v) for k, v in keywords.items()}}


def _plain(value):
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
