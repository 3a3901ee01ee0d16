"""The network: stem, encoder, conditioning, decoder, head."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from uniseg.device_copy import to_device
from uniseg.errors import InputError
from uniseg.models.added import AddedTask, merge_logits
from uniseg.models.blocks import init_weights
from uniseg.models.conditioning.base import Conditioning, ConditioningOutput
from uniseg.models.decoder import Decoder
from uniseg.models.encoded import Encoded, append_decoder_prompt
from uniseg.models.encoders.base import Encoder
from uniseg.models.factories import class_of, describe_factory
from uniseg.models.graphs import GraphCache
from uniseg.models.heads.base import Head, Readout, conv_readout
from uniseg.models.norms import set_fused_norm
from uniseg.models.provenance import Provenance
from uniseg.models.stem import Stem
from uniseg.models.switches import Switches
from uniseg.task import Task, TaskSet


class UniSegModel(Switches):
    """One network for a set of tasks.

    Args:
        tasks: fixes stems, prompts, head width. Pretext tasks are added to the network of the others (``extend``).
        patch_size: (Z, Y, X) voxels it is trained with; other windows work where they fit the strides.
        encoder: called without arguments.
        conditioning: called with ``channels``, ``tasks``, ``size``.
        head: called with ``channels``, ``tasks``, ``control_channels``.
        decoder: called with ``channels``, ``strides``, ``bottleneck_channels``.

    Attributes:
        config: plain containers that rebuild the network (see ``uniseg.weights.checkpoint``).
        added: one module per task that ``extend`` added; the last tasks of ``tasks``.
        provenance: how the weights came to be.

    Raises:
        InputError: the patch does not fit the encoder's strides; a head that does not read what the conditioning
            writes.

    Examples:
        >>> from functools import partial
        >>> from uniseg.models.conditioning.none import NoConditioning
        >>> from uniseg.models.encoders.unet import UNetEncoder
        >>> from uniseg.models.heads.static import StaticHead
        >>> from uniseg.task import Normalization, Task, TaskSet
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> encoder = partial(UNetEncoder, **UNetEncoder.SMALL)
        >>> model = UniSegModel(
        ...     TaskSet([liver]), patch_size=(8, 16, 16), encoder=encoder, conditioning=NoConditioning, head=StaticHead
        ... )
        >>> [tuple(logits.shape) for logits in model(torch.zeros(1, 1, 8, 16, 16), torch.tensor([0]))]
        [(1, 2, 8, 16, 16), (1, 2, 8, 8, 8)]
    """

    def __init__(
        self,
        tasks: TaskSet,
        *,
        patch_size: Sequence[int],
        encoder: Callable[..., Encoder],
        conditioning: Callable[..., Conditioning],
        head: Callable[..., Head],
        decoder: Callable[..., Decoder] = Decoder,
    ) -> None:
        super().__init__()
        pretexts = [task for task in tasks if task.is_pretext]
        self.tasks = tasks = TaskSet(tasks.segmentations or [pretexts.pop(0)])
        self.patch_size = tuple(patch_size)
        self.encoder = encoder()
        channels, strides = self.encoder.channels, self.encoder.strides
        self.stride = tuple(prod(s) for s in zip(*strides, strict=True))
        self.check_window(self.patch_size)
        self.stem = Stem(
            (task.num_modalities for task in tasks), channels[0], self.encoder.stem_kernel, bare=self.encoder.bare_stem
        )
        size = tuple(p // s for p, s in zip(self.patch_size, self.stride, strict=True))
        self.conditioning = conditioning(channels=channels[-1], tasks=tasks, size=size)
        _require_code_is_read(self.conditioning, head)
        bottleneck_channels = self.conditioning.out_channels
        self.decoder = decoder(channels=channels, strides=strides, bottleneck_channels=bottleneck_channels)
        self.conditioning.meet_decoder(self.decoder.channels, self.decoder.norms_per_stage)
        self.head = head(
            channels=[c + self.conditioning.decoder_prompt_channels for c in self.decoder.channels],
            tasks=tasks,
            control_channels=bottleneck_channels + self.conditioning.task_code_channels,
        )
        self.added = nn.ModuleList()
        init_weights(self)
        self.decoder.init_halves()
        self.config: dict = {
            "patch_size": list(self.patch_size),
            "encoder": describe_factory(encoder),
            "conditioning": describe_factory(conditioning) | self.conditioning.settings(),
            "head": describe_factory(head),
            "decoder": describe_factory(decoder),
            "added": [],
        }
        self.provenance = Provenance()
        if pretexts:
            self.extend(pretexts, adapter_channels=0)

    def extend(self, tasks: Iterable[Task], *, adapter_channels: int) -> None:
        """Add tasks; the output for the old ones stays bit-identical as long as only the new weights train
        (``freeze_base``).

        A task brings its prompt with its way through FUSE, a head, an adapter after every decoder stage and, for a
        number of modalities that the network does not know, a first convolution.

        Args:
            tasks: their names must be new.
            adapter_channels: width of the adapters; 0: none.
        """
        tasks = list(tasks)
        TaskSet([*self.tasks, *tasks])
        for task in tasks:
            self.append_added(
                task,
                self.make_added(task, adapter_channels=adapter_channels).to(self.device),
                adapter_channels=adapter_channels,
            )

    def make_added(self, task: Task, *, adapter_channels: int) -> AddedTask:
        """What ``extend`` adds for a task, with new weights, not yet added."""
        known = str(task.num_modalities) in self.stem.convs
        return AddedTask(
            task,
            stem=None if known else self.stem.make_conv(task.num_modalities),
            state=self.conditioning.make_task_state(),
            channels=self.decoder.channels,
            decoder_prompt_channels=self.conditioning.decoder_prompt_channels,
            adapter_channels=adapter_channels,
        )

    def append_added(self, task: Task, added: AddedTask, *, adapter_channels: int) -> None:
        """Add a task whose weights are made (``make_added``)."""
        self.tasks = TaskSet([*self.tasks, task])
        set_fused_norm(added, self.fused_norm)
        self.added.append(added)
        self.config["added"].append({"adapter_channels": adapter_channels})

    @property
    def num_base(self) -> int:
        """Number of tasks that the network was made for; those after them were added."""
        return len(self.tasks) - len(self.added)

    def freeze_base(self) -> None:
        """Let only what was added train."""
        self.requires_grad_(False)
        self.added.requires_grad_(True)

    def set_norm_eps(self, eps: Mapping[str, float]) -> None:
        """Give norms, by the names of their modules, an epsilon of their own; files keep it with ``config``."""
        for name, value in eps.items():
            self.get_submodule(name).eps = value  # type: ignore[assignment]  # mypy takes attributes for tensors
        if eps:
            self.config["norm_eps"] = {**self.config.get("norm_eps", {}), **eps}

    def check_window(self, size: Sequence[int]) -> None:
        """Whether a window of ``size`` (Z, Y, X) voxels can be computed.

        Raises:
            InputError: not a multiple of the strides, or a bottleneck of one voxel, which instance norm cannot take.
        """
        if (
            any(n % s for n, s in zip(size, self.stride, strict=True))
            or prod(n // s for n, s in zip(size, self.stride, strict=True)) < 2
        ):
            raise InputError(
                "window",
                f"{tuple(size)} voxels",
                f"multiples of {self.stride} with at least 2 bottleneck voxels",
                "choose another patch_size",
            )

    def forward(self, image: Tensor, task: Tensor) -> list[Tensor]:
        """``image [B,M,Z,Y,X]``, ``task [B]`` (indices in ``tasks``, on the processor: reading them on a GPU would wait
        for all that is queued there) -> logits, finest first, each ``[B,K,...]``.

        M is the widest task in the batch; narrower samples are zero-padded. K is the widest task in the batch; rows of
        padding are -inf.
        """
        if self.graphs is not None and self._fits_a_graph(image, task):
            return self._forward_graphed(self.graphs, image, task)
        return self.decode(self.encode(image, task), task)

    def _fits_a_graph(self, image: Tensor, task: Tensor) -> bool:
        is_training = self.training and torch.is_grad_enabled() and image.is_cuda and not self.encoder.recompute
        return is_training and int(task.max()) < self.num_base

    def _forward_graphed(self, graphs: GraphCache, image: Tensor, task: Tensor) -> list[Tensor]:
        """Stem and head, which differ from batch to batch, stay outside the graph."""
        self.check_window(image.shape[2:])
        features = self.stem(image, [self.stem_of(t) for t in task.tolist()])
        index = to_device(task, features.device)
        *pyramid, bottleneck, task_code = graphs(self._trunk, features, index)
        conditioned = ConditioningOutput(bottleneck, task_code, bottleneck[:, :0])
        return self.head(pyramid, conditioned, index, [self.tasks[t].num_classes for t in task.tolist()])

    def _trunk(self, features: Tensor, task: Tensor) -> tuple[Tensor, ...]:
        """Stem's output, ``task [B]`` on the device -> the pyramid, and what a head reads of the conditioning."""
        levels = self.encoder(features)
        encoded = Encoded(levels[-1], self.decoder.skip_terms(levels[:-1]))
        pyramid, conditioned = self._pyramid_base(encoded, task)
        return (*pyramid, conditioned.features, conditioned.task_code)

    def encode(self, image: Tensor, task: Tensor) -> Encoded:
        """What all tasks of one first convolution (``stem_of``) share; ``task`` chooses nothing else."""
        self.check_window(image.shape[2:])
        features = self.encoder(self.stem(image, [self.stem_of(t) for t in task.tolist()]))
        return Encoded(features[-1], self.decoder.skip_terms(features[:-1]))

    def stem_of(self, task_index: int) -> nn.Conv3d:
        """The first convolution of a task."""
        stem = self.added[task_index - self.num_base].stem if task_index >= self.num_base else None
        return stem if stem is not None else self.stem.convs[str(self.tasks[task_index].num_modalities)]

    def decode(self, encoded: Encoded, task: Tensor) -> list[Tensor]:
        """Logits of ``task [B]``; an ``encoded`` of one window serves any number of tasks."""
        owners = [max(0, t - self.num_base + 1) for t in task.tolist()]  # 0: the network as it was made
        if not any(owners):
            return self._decode_base(encoded, task)
        rows = [[b for b, owner in enumerate(owners) if owner == each] for each in sorted(set(owners))]
        parts = [
            self._decode_added(encoded.rows(samples), self.added[owners[samples[0]] - 1], len(samples))
            if owners[samples[0]]
            else self._decode_base(encoded.rows(samples), task[samples])
            for samples in rows
        ]
        return [merge_logits(level, rows) for level in zip(*parts, strict=True)]

    def finest(self, encoded: Encoded, task_index: int) -> Tensor:
        """``[B,C,Z,Y,X]``: what ``readout`` of the task reads; C as of the decoder's finest stage with its prompt."""
        added = task_index - self.num_base
        if added >= 0:
            return self._pyramid_added(encoded, self.added[added])[0]
        task = torch.full((encoded.bottleneck.shape[0],), task_index, device=encoded.bottleneck.device)
        return self._pyramid_base(encoded, task)[0][0]

    def logits_of_task(self, encoded: Encoded, task_index: int) -> Tensor:
        """``[B,K,Z,Y,X]`` of a task that the network was made with, the finest alone; K as of the task."""
        task = torch.full((encoded.bottleneck.shape[0],), task_index, device=encoded.bottleneck.device)
        pyramid, conditioned = self._pyramid_base(encoded, task)
        return self.head(pyramid, conditioned, task, [self.tasks[task_index].num_classes])[0]

    def finest_of_tasks(self, encoded: Encoded, task: Tensor) -> Tensor:
        """``[T,C,Z,Y,X]``: ``finest`` of one window for ``task [T]``, none of them added, as one batch."""
        return self._pyramid_base(encoded, to_device(task, encoded.bottleneck.device))[0][0]

    def readout(self, task_index: int) -> Readout | None:
        """The matrix from ``finest`` to the logits of the task; None where the head has none."""
        added = task_index - self.num_base
        if added >= 0:
            return conv_readout(self.added[added].head[0])
        return self.head.readout(task_index, self.tasks[task_index].num_classes)

    def _decode_base(self, encoded: Encoded, task: Tensor) -> list[Tensor]:
        num_classes = [self.tasks[t].num_classes for t in task.tolist()]
        task = to_device(task, encoded.bottleneck.device)
        pyramid, conditioned = self._pyramid_base(encoded, task)
        return self.head(pyramid, conditioned, task, num_classes)

    def _pyramid_base(self, encoded: Encoded, task: Tensor) -> tuple[list[Tensor], ConditioningOutput]:
        conditioned = self.conditioning(encoded.bottleneck, task)
        pyramid = self.decoder(conditioned.features, encoded.skip_terms, stages=conditioned.stages)
        return append_decoder_prompt(pyramid, conditioned.decoder_prompt), conditioned

    def _decode_added(self, encoded: Encoded, added: AddedTask, num_samples: int) -> list[Tensor]:
        pyramid = self._pyramid_added(encoded, added)
        return [level.expand(num_samples, -1, -1, -1, -1) for level in added.logits(pyramid)]

    def _pyramid_added(self, encoded: Encoded, added: AddedTask) -> list[Tensor]:
        conditioned = self.conditioning.forward_added_task(encoded.bottleneck, added.own)
        pyramid = self.decoder(conditioned.features, encoded.skip_terms, added.adapters, conditioned.stages)
        return append_decoder_prompt(pyramid, conditioned.decoder_prompt)

    def task_prompts(self, encoded: Encoded) -> Tensor:
        """The prompts of all tasks ``[B,T,z,y,x]``, T in the order of ``tasks``;

        ``[B,0,z,y,x]`` where the conditioning has none.
        """
        added = [self.conditioning.added_task_prompt(encoded.bottleneck, each.own) for each in self.added]
        return torch.cat([self.conditioning.task_prompts(encoded.bottleneck), *added], dim=1)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def _require_code_is_read(conditioning: Conditioning, head: Callable[..., Head]) -> None:
    if conditioning.task_code_channels and not class_of(head).reads_task_code:
        found = f"a {class_of(head).__name__}, which does not read the task code of the conditioning"
        raise InputError("model", found, "head=dynamic", "correct model/head or model/conditioning")
