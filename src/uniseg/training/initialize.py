"""Where the first weights of a run come from, and what a network is before its first step."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from uniseg.models.uniseg import UniSegModel
from uniseg.weights.norm_restoring import RestoredNorms
from uniseg.weights.transfer_report import TransferReport, WeightsReport


@dataclass(frozen=True)
class InitSettings:
    """Where a run's first weights come from.

    Attributes:
        checkpoint: a training checkpoint, an exported folder or a file of another project; None: new weights.
        dry_run: report what would become of every tensor, and train nothing.

    Examples:
        >>> InitSettings(checkpoint="outputs/demo/checkpoints/last.ckpt").dry_run
        False
    """

    group: ClassVar[str] = "init"

    checkpoint: str | None = None
    dry_run: bool = False

    @property
    def path(self) -> Path | None:
        return None if self.checkpoint is None else Path(self.checkpoint)


@dataclass(frozen=True)
class InitializedModel:
    """A network before its first step.

    Attributes:
        transfer: what came from another network; None where nothing was transferred.
        restored: convolutions that were scaled back to the norm that they were drawn with; None where none were.

    Examples:
        >>> from uniseg.models.uniseg import UniSegModel
        >>> def report(model: UniSegModel) -> list[str]:
        ...     return InitializedModel(model, transfer=None).lines()
    """

    model: UniSegModel
    transfer: TransferReport | None
    restored: RestoredNorms | None = None

    @property
    def fresh(self) -> frozenset[str]:
        """Names of parameters that did not come from another network as they are; empty where none did."""
        return frozenset() if self.transfer is None else frozenset([*self.transfer.missing, *self.transfer.adapted])

    @property
    def report(self) -> WeightsReport:
        sizes = [(p.numel(), p.requires_grad) for p in self.model.parameters()]
        trained, total = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
        return WeightsReport(trained, total, self.transfer, self.restored)

    def lines(self) -> list[str]:
        """For a person: where the numbers came from, how many train."""
        report = self.report
        transferred = self.transfer.lines() if self.transfer else []
        restored = self.restored.lines() if self.restored else []
        trained = f"{report.trained:,} of {report.total:,} parameters train."
        return [*transferred, *restored, trained, *_graph_lines(self.model)]


def _graph_lines(model: UniSegModel) -> list[str]:
    """What a network with pretext tasks beside others does not record as CUDA graphs; empty where it records all."""
    if model.graphs is None or not any(task.is_pretext for task in model.tasks[model.num_base :]):
        return []
    return ["Batches with a sample of a pretext task are computed without CUDA graphs, the others with."]
