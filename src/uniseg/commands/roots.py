"""Every command's configuration as a dataclass: its keys, with what each may be."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf  # noqa: F401 - the latter for the examples

from uniseg.adaptation.settings import AdaptSettings
from uniseg.commands.run_roots import (
    CrossvalConfig,
    EvaluateConfig,
    FinetuneConfig,
    InferenceSchema,
    PrepareConfig,
    RunConfig,
    TrainConfig,
)
from uniseg.commands.structured import schema_of
from uniseg.images.dicom_seg import BINARY, LABELMAP
from uniseg.inference.outputs import FORMATS as LABEL_FORMATS
from uniseg.inference.shard import SHARD
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.reporting.view_settings import CompareSettings, ReportSettings, ViewSettings
from uniseg.service.settings import ServiceSettings
from uniseg.settings import (
    NOT_EMPTY,
    POSITIVE,
    TEXT,
    bounded,
    number,
    sequence,
    word,
)

FORMATS = ("folder", "onnx", "torch_export", "bundle")  # of export
TORCHSCRIPT = "choose torch_export, whose programs need torch alone as well: PyTorch has deprecated TorchScript"


@dataclass
class OfScans:
    """Keys of a command that reads scans with a network.

    Examples:
        >>> OmegaConf.structured(OfScans(output="masks")).output
        'masks'
    """

    checkpoint: Any = field(default=MISSING, metadata=TEXT)
    task_files: list[str] = MISSING
    input: Any = field(default=MISSING, metadata=TEXT)
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    series: Any = field(default=None, metadata=TEXT)
    tasks: Any = field(default=MISSING, metadata=TEXT)
    modality: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    inference: InferenceSchema = MISSING


@dataclass
class PredictConfig(OfScans):
    """Keys of ``predict``.

    Examples:
        >>> OmegaConf.structured(PredictConfig(modality=["CT"])).modality
        ['CT']
    """

    merge: bool = MISSING
    probabilities: bool = MISSING
    format: str = field(default=MISSING, metadata=bounded(word(*LABEL_FORMATS)))
    segmentation_type: str = field(default=MISSING, metadata=bounded(word(BINARY, LABELMAP)))
    shard: str | None = field(default=None, metadata=bounded(SHARD))
    postprocessing: str | None = None
    site_file: str | None = None


@dataclass
class AdaptConfig(OfScans, schema_of(AdaptSettings)):
    """Keys of ``adapt``.

    Examples:
        >>> OmegaConf.structured(AdaptConfig(modality=["T2"])).modality
        ['T2']
    """

    reference: str | None = None


@dataclass
class ServeConfig(schema_of(ServiceSettings)):
    """Keys of ``serve``.

    Examples:
        >>> OmegaConf.structured(ServeConfig(port=8000)).port
        8000
    """

    checkpoint: Any = field(default=MISSING, metadata=TEXT)
    task_files: list[str] = MISSING
    postprocessing: str | None = None
    inference: InferenceSchema = MISSING


@dataclass
class ExportConfig:
    """Keys of ``export``.

    Examples:
        >>> OmegaConf.structured(ExportConfig(output="shared")).output
        'shared'
    """

    checkpoint: Any = field(default=MISSING, metadata=TEXT)
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    format: str = field(default=MISSING, metadata=bounded(word(*FORMATS, advice={"torchscript": TORCHSCRIPT})))
    tasks: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    task_files: list[str] = MISSING
    added_task: str | None = None
    delta_of: str | None = None
    base: str | None = None
    scores: str | None = None


@dataclass
class InfoConfig:
    """Keys of ``info``.

    Examples:
        >>> OmegaConf.structured(InfoConfig(json=True)).json
        True
    """

    checkpoint: Any = field(default=MISSING, metadata=TEXT)
    task_files: list[str] = MISSING
    shape: list[int] = field(
        default=MISSING, metadata=bounded(sequence(number(least=1, most=32767, whole=True), length=3))
    )
    spacing_mm: list[float] = field(default=MISSING, metadata=bounded(sequence(POSITIVE, length=3)))
    json: bool = MISSING


@dataclass
class TasksConfig:
    """Keys of ``tasks``.

    Examples:
        >>> OmegaConf.structured(TasksConfig(action="add")).action
        'add'
    """

    action: str = field(default=MISSING, metadata=bounded(word("list", "add", "remove")))
    base: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    file: str | None = None
    name: str | None = None
    licence: str | None = None
    citation: str | None = None
    scores: str | None = None
    json: bool = MISSING


@dataclass
class CompleteConfig(RunConfig, schema_of(CompletionSettings)):
    """Keys of ``complete``.

    Examples:
        >>> OmegaConf.structured(CompleteConfig(output="completed")).output
        'completed'
    """

    teachers: Any = field(default=MISSING, metadata=TEXT)
    structures: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))


@dataclass
class ImportConfig:
    """Keys of ``import``.

    Examples:
        >>> OmegaConf.structured(ImportConfig(output="imported")).output
        'imported'
    """

    results: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    checkpoint: str = field(default=MISSING, metadata=bounded(word("final", "best")))
    images: Any = field(default=None, metadata=TEXT)
    nnunet_python: str | None = None


@dataclass
class ViewConfig(schema_of(ViewSettings)):
    """Keys of ``view``.

    Examples:
        >>> OmegaConf.structured(ViewConfig(scan="ct.nii.gz")).reference
    """

    scan: Any = field(default=MISSING, metadata=TEXT)
    labels: Any = field(default=MISSING, metadata={"text": True})
    reference: Any = field(default=None, metadata=TEXT)
    checkpoint: str | None = None
    task_files: list[str] = MISSING
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))


@dataclass
class ReportConfig(schema_of(ReportSettings)):
    """Keys of ``report``.

    Examples:
        >>> OmegaConf.structured(ReportConfig(margin=0.02)).margin
        0.02
    """

    run: str | None = None
    run_dir: str | None = None
    name: str = MISSING
    logger: Any = None
    runs: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    sweep: str | None = None
    metric: Any = MISSING
    output: str | None = None


@dataclass
class CompareConfig(schema_of(CompareSettings)):
    """Keys of ``compare``.

    Examples:
        >>> OmegaConf.structured(CompareConfig(runs=["a", "b"])).runs
        ['a', 'b']
    """

    runs: list[str] = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))


ROOTS = {
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "finetune": FinetuneConfig,
    "crossval": CrossvalConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "serve": ServeConfig,
    "report": ReportConfig,
    "compare": CompareConfig,
    "adapt": AdaptConfig,
    "export": ExportConfig,
    "info": InfoConfig,
    "tasks": TasksConfig,
    "view": ViewConfig,
    "import": ImportConfig,
    "complete": CompleteConfig,
}
