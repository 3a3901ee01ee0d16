"""What is left of a network without the pretext tasks that it learnt beside others."""

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet


def without_pretexts(model: UniSegModel) -> UniSegModel:
    """An ordinary network of the same weights, in memory the same tensors; its logits are those of ``model``, bit for
    bit. ``model`` itself where it has no pretext task.

    Raises:
        InputError: it was made for a pretext task alone.

    Examples:
        >>> from uniseg import UniSegModel
        >>> model = UniSegModel.from_preset("uniseg_tiny", ["liver"])
        >>> without_pretexts(model) is model
        True
    """
    if not any(task.is_pretext for task in model.tasks):
        return model
    if model.tasks[0].is_pretext:
        found, fix = "no task but pretext tasks", "fine-tune it first: uniseg finetune base=<file> task=[...]"
        raise InputError("network", found, "one that segments", fix)
    kept = [number for number, task in enumerate(model.tasks[model.num_base :]) if not task.is_pretext]
    left = model.__new__(type(model))
    left.__dict__.update(model.__dict__, _modules=dict(model._modules))
    left.added = type(model.added)(model.added[number] for number in kept)
    left.tasks = TaskSet(model.tasks.segmentations)
    left.config = {**model.config, "added": [model.config["added"][number] for number in kept]}
    return left


def is_pretrained_alone(model: UniSegModel) -> bool:
    """Whether it has learnt pretext tasks and nothing else."""
    return not model.tasks.segmentations
