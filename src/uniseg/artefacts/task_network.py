"""A network with its task fixed, as exporters trace it: window in, scores of label values out."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from uniseg.models.encoded import Encoded
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.ensemble import load_ensemble

BATCH = torch.export.Dim("batch", min=1)


class TaskNetwork(nn.Module):
    """The average over an ensemble of what one task says of windows.

    Gathers by task index and choices by Python become constants; classes of other tasks are not computed.

    Args:
        models: one, or several of the same tasks.
        task_index: of the task in each.

    Examples:
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> TaskNetwork([model], 0)(torch.zeros(3, 1, 16, 32, 32)).shape
        torch.Size([3, 2, 16, 32, 32])
    """

    def __init__(self, models: Sequence[UniSegModel], task_index: int) -> None:
        super().__init__()
        self.models, self.task_index = nn.ModuleList(models), task_index
        self.task, self.patch_size = models[0].tasks[task_index], models[0].patch_size

    def forward(self, image: Tensor) -> Tensor:
        """``[B,M,Z,Y,X]`` of the patch size -> ``[B,V,Z,Y,X]``: the largest of V is the label value of a voxel."""
        scores = [self._scores(model, image) for model in self.models]
        return torch.stack(scores).mean(0) if len(scores) > 1 else scores[0]

    def _scores(self, model: UniSegModel, image: Tensor) -> Tensor:
        levels = model.encoder(model.stem(image, [model.stem_of(self.task_index)]))
        encoded = Encoded(levels[-1], model.decoder.skip_terms(levels[:-1]))
        readout = model.readout(self.task_index)
        if readout is None:
            return label_scores(model.logits_of_task(encoded, self.task_index), self.task)
        readout = readout.of_labels(self.task)
        scores = torch.einsum("vc,nczyx->nvzyx", readout.weight, model.finest(encoded, self.task_index))
        return scores + readout.bias.view(1, -1, 1, 1, 1)


def example(network: TaskNetwork) -> Tensor:
    """A batch of two windows, from which exporters learn what changes with the batch."""
    return torch.zeros(2, network.task.num_modalities, *network.patch_size)


def chosen_tasks(models: Sequence[UniSegModel], names: Iterable[str] | None) -> list[int]:
    """Indices of the tasks that are exported; None: all.

    Raises:
        InputError: an unknown task.
    """
    tasks = models[0].tasks
    return list(range(len(tasks))) if names is None else [tasks.position(name) for name in names]


def load_task_network(checkpoint: str, task: str) -> TaskNetwork:
    """One task of a checkpoint, an exported folder or an ensemble, as a bundle names its network.

    Raises:
        InputError: as of ``load_ensemble``; an unknown task.
    """
    models = load_ensemble(checkpoint)
    return TaskNetwork(models, models[0].tasks.position(task)).eval()
