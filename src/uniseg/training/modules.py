"""The LightningModules of upstream training and of fine-tuning."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from uniseg.models.uniseg import UniSegModel
from uniseg.pretext.base import Objective
from uniseg.task import TaskSet
from uniseg.training.finetuning import FineTuning, trained_groups
from uniseg.training.optimization import Optimization
from uniseg.training.run_record import RunRecord
from uniseg.training.segmentation import SegmentationModule


class UpstreamModule(SegmentationModule):
    """Trains one network on many tasks from new weights: all that asks for a gradient, at one learning rate, but for
    what the conditioning has a factor for (``lr_factors``).

    Examples:
        >>> def network_of(path: str) -> UniSegModel:
        ...     return UpstreamModule.load_from_checkpoint(path).model
    """

    def parameter_groups(self) -> list[dict[str, Any]]:
        return trained_groups(self.model, self.optimization)


class DownstreamModule(SegmentationModule):
    """Fine-tunes a trained network, as its ``FineTuning`` says.

    Args:
        finetuning: gives every stage its learning rate; what it froze or added is in ``model`` already.
        fresh: names of parameters that did not come from the base as they are; with a sawtooth they learn first.
        model, tasks, optimization, objectives: of ``SegmentationModule``.

    Examples:
        >>> def rates(path: str) -> list[float]:
        ...     return [group["lr"] for group in DownstreamModule.load_from_checkpoint(path).parameter_groups()]
    """

    def __init__(
        self,
        model: UniSegModel,
        *,
        tasks: TaskSet,
        finetuning: FineTuning | None = None,
        optimization: Optimization | None = None,
        fresh: frozenset[str] = frozenset(),
        objectives: Mapping[str, Objective] | None = None,
    ) -> None:
        super().__init__(model, tasks=tasks, optimization=optimization, objectives=objectives)
        self.finetuning = finetuning or FineTuning()
        self.fresh = fresh

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.finetuning.parameter_groups(self.model, self.optimization, self.fresh)

    def new_scheduler(self, optimizer: Optimizer, num_steps: int) -> LRScheduler:
        return self.finetuning.scheduler(optimizer, num_steps, self.optimization)

    @classmethod
    def _settings_of(cls, record: RunRecord | None) -> dict[str, Any]:
        settings = {} if record is None else record.settings
        group = {key.removeprefix("finetune."): value for key, value in settings.items() if key.startswith("finetune.")}
        group.pop("name", None)
        if "sawtooth" in group:
            group["sawtooth"] = tuple(group["sawtooth"])
        return super()._settings_of(record) | {"finetuning": FineTuning(**group)}
