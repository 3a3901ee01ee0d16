"""The network of the public API: made from a preset, or from trained weights."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from hydra.utils import instantiate
from omegaconf import OmegaConf

from uniseg.commands.catalogue import choices_of
from uniseg.commands.process_state import compose_group
from uniseg.commands.suggestions import nearest_word
from uniseg.datasets.source import make_task
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel as Network
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Task, TaskSet
from uniseg.weights import checkpoint, hub

Part = str | Callable[..., Any]


class UniSegModel(Network):
    """One network for a set of tasks, a ``torch.nn.Module``: ``model(image, task_index)`` gives logits, finest first.

    Examples:
        >>> model = UniSegModel.from_preset("uniseg_tiny", tasks=["liver", "spleen"], encoder="resenc_tiny")
        >>> model.tasks.names, model.patch_size
        (('liver', 'spleen'), (32, 48, 48))
    """

    @classmethod
    def from_preset(
        cls,
        name: str,
        tasks: Iterable[str | Task],
        patch_size: Sequence[int] = StreamSettings().patch_size,
        *,
        encoder: Part | None = None,
        conditioning: Part | None = None,
        head: Part | None = None,
        decoder: Part | None = None,
    ) -> Self:
        """A network with new weights.

        Args:
            name: a file of ``conf/model``, packaged or in ``./conf``: uniseg_tiny, uniseg_small, uniseg_published, ...
            tasks: names of files of ``conf/task``, or tasks; their order is that of the network.
            patch_size: (Z, Y, X) voxels.
            encoder, conditioning, head, decoder: in place of the preset's: the name of a file of
                ``conf/model/<part>``, or what ``UniSegModel`` takes, such as ``functools.partial(MyEncoder, width=8)``.

        Raises:
            InputError: there is no such file; a task file, or the patch does not fit.
        """
        parts = {"encoder": encoder, "conditioning": conditioning, "head": head, "decoder": decoder}
        named = {f"model/{part}": choice for part, choice in parts.items() if isinstance(choice, str)}
        for group, choice in ({"model": name} | named).items():
            _require_choice(group, choice)
        config = compose_group(f"model/{name}", [f"{group}={choice}" for group, choice in named.items()]).model
        given = {part: choice for part, choice in parts.items() if choice is not None and not isinstance(choice, str)}
        made = {part: given.get(part) or instantiate(config[part], _convert_="all") for part in parts}
        return cls(TaskSet(map(_task, tasks)), patch_size=tuple(patch_size), **made)

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        task_files: Iterable[str | os.PathLike] = (),
        site_file: str | os.PathLike | None = None,
    ) -> Self:
        """The trained network of a file or folder, in eval mode on the CPU.

        Args:
            path: a checkpoint of ``uniseg train``, a folder of ``uniseg export``, or ``user/name`` of a hub.
            task_files: of tasks that were added to this network; they come after the tasks that it was made with.
            site_file: of a site that it was adapted to.

        Raises:
            InputError: unreadable, not one of ours, or a task file or site file that does not fit it.
        """
        site = None if site_file is None else Path(site_file)
        return checkpoint.load_model(path, [Path(each) for each in task_files], site_file=site, cls=cls)

    def push_to_hub(self, name: str, *, private: bool = True) -> str:
        """Put the network with its card onto Hugging Face's hub, as ``user/name``; returns its address there.

        Raises:
            InputError: another kind of name, or ``huggingface_hub`` is not installed.
        """
        return hub.push_to_hub(self, name, private=private)


def load_model(
    path: str | os.PathLike,
    task_files: Iterable[str | os.PathLike] = (),
    *,
    base: str | os.PathLike | None = None,
    site_file: str | os.PathLike | None = None,
) -> UniSegModel:
    """``UniSegModel.from_pretrained``; of a delta too, where ``base`` is what it was written against."""
    return checkpoint.load_model(path, task_files, base=base, site_file=site_file, cls=UniSegModel)


def _task(task: str | Task) -> Task:
    if isinstance(task, Task):
        return task
    _require_choice("task", task)
    (block,) = OmegaConf.to_container(compose_group(f"task/{task}", []).tasks).items()
    return make_task(*block)


def _require_choice(group: str, name: str) -> None:
    choices = choices_of(group)
    if name not in choices:
        near = nearest_word(name, choices)
        fix = f"did you mean {near}?" if near else "choose one"
        raise InputError(group, f"'{name}'", f"one of {', '.join(choices)}", fix)
