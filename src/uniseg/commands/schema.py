"""The shape of every configuration, with what each setting may be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from uniseg.commands.bounds import as_text, check, settings_of, values_at
from uniseg.commands.group_bounds import bounds_in, rules_in
from uniseg.commands.structured import schema_of
from uniseg.datasets.source import TaskBlock
from uniseg.environment import CONF_DIR
from uniseg.evaluation.predictions import FILE_VALUES, TASK_VALUES
from uniseg.evaluation.run import SCORED_SPLITS
from uniseg.evaluation.scoring import ScoringRules
from uniseg.images.dicom_seg import BINARY, LABELMAP
from uniseg.inference.outputs import FORMATS as LABEL_FORMATS
from uniseg.inference.settings import InferenceSettings
from uniseg.inference.shard import SHARD
from uniseg.phantom.suite import PhantomSettings
from uniseg.planning.settings import PlanSettings
from uniseg.run_folder import RunFolder
from uniseg.sampling.settings import StreamSettings
from uniseg.settings import (
    NO_LIMIT,
    NOT_EMPTY,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    TEXT,
    Bound,
    bounded,
    number,
    sequence,
    word,
)
from uniseg.training.control import FinetuneSettings
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitSettings
from uniseg.training.logs import tracked
from uniseg.training.speed import SpeedSettings

FORMATS = ("folder", "onnx", "torch_export", "bundle")  # of export


@dataclass
class PathsConfig:
    """Folders of data, cache, outputs.

    Examples:
        >>> OmegaConf.structured(PathsConfig(data="scans")).data
        'scans'
    """

    data: str = MISSING
    cache: str = MISSING
    outputs: str = MISSING
    splits: str = MISSING
    phantoms: str = MISSING


# Of frozen dataclasses, which hold type, default and bound of each setting; the YAML gives the same defaults.
TaskSchema = schema_of(TaskBlock, with_defaults=True)
PhantomSchema = schema_of(PhantomSettings)
DataSchema = schema_of(StreamSettings)
InferenceSchema = schema_of(InferenceSettings)
SpeedSchema = schema_of(SpeedSettings)
InitSchema = schema_of(InitSettings, name=str, run=str | None)
ScoringSchema = schema_of(ScoringRules)
FineTuningSchema = schema_of(FineTuning, name=str)


@dataclass
class RunConfig:
    """What an experiment fixes; prepare, train and evaluate read the same one.

    Examples:
        >>> OmegaConf.structured(RunConfig(name="demo", seed=1)).seed
        1
    """

    name: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    run_dir: str = MISSING
    seed: int = field(default=MISSING, metadata=bounded(SEED))
    tasks: dict[str, TaskSchema] = MISSING
    data: DataSchema = MISSING
    paths: PathsConfig = MISSING
    inference: InferenceSchema = MISSING
    phantom: PhantomSchema | None = None
    init: InitSchema = MISSING
    finetune: FineTuningSchema = MISSING
    model: Any = MISSING
    augment: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    speed: SpeedSchema = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING


@dataclass
class AuditConfig:
    """What ``prepare`` looks at before it writes.

    Examples:
        >>> OmegaConf.structured(AuditConfig(only=True)).only
        True
    """

    only: bool = MISSING


@dataclass
class PrepareConfig(RunConfig, schema_of(PlanSettings)):
    """The key ``import`` is added in ``register``: a word of Python's own cannot be a field.

    Examples:
        >>> OmegaConf.structured(PrepareConfig).overwrite
        False
    """

    num_workers: int = field(default=MISSING, metadata=bounded(number(least=1, most=1024, whole=True) | NO_LIMIT))
    plan: bool = MISSING
    audit: AuditConfig = MISSING
    prune: bool = MISSING
    preprocessed: str | None = None
    overwrite: bool = False


@dataclass
class TrainConfig(RunConfig):
    """Keys of ``train``.

    Examples:
        >>> OmegaConf.structured(TrainConfig(ckpt_path="last.ckpt")).overwrite
        False
    """

    ckpt_path: str | None = None
    overwrite: bool = False


@dataclass
class FinetuneConfig(TrainConfig, schema_of(FinetuneSettings)):
    """Keys of ``finetune``.

    Examples:
        >>> OmegaConf.structured(FinetuneConfig(base="last.ckpt")).base
        'last.ckpt'
    """


@dataclass
class EvaluateConfig(RunConfig):
    """Keys of ``evaluate``.

    Examples:
        >>> OmegaConf.structured(EvaluateConfig(split="test")).split
        'test'
    """

    rules: ScoringSchema = MISSING
    checkpoint: Any = field(default=None, metadata=TEXT)
    task_files: list[str] = MISSING
    split: str = field(default=MISSING, metadata=bounded(word(*SCORED_SPLITS)))
    postprocessing: str | None = None
    predictions: str | None = None
    labels: str | None = None
    predictions_use: str | None = field(default=None, metadata=bounded(word(TASK_VALUES, FILE_VALUES)))
    pool: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    output: str = MISSING


@dataclass
class PredictConfig:
    """Keys of ``predict``.

    Examples:
        >>> OmegaConf.structured(PredictConfig(modality=["CT"])).modality
        ['CT']
    """

    checkpoint: Any = field(default=MISSING, metadata=TEXT)
    task_files: list[str] = MISSING
    input: Any = field(default=MISSING, metadata=TEXT)
    output: str = field(default=MISSING, metadata=bounded(NOT_EMPTY))
    series: Any = field(default=None, metadata=TEXT)
    tasks: Any = field(default=MISSING, metadata=TEXT)
    modality: list[str] | None = field(default=None, metadata=bounded(NOT_EMPTY))
    merge: bool = MISSING
    probabilities: bool = MISSING
    format: str = field(default=MISSING, metadata=bounded(word(*LABEL_FORMATS)))
    segmentation_type: str = field(default=MISSING, metadata=bounded(word(BINARY, LABELMAP)))
    shard: str | None = field(default=None, metadata=bounded(SHARD))
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
    format: str = field(default=MISSING, metadata=bounded(word(*FORMATS)))
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
class ReportConfig:
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
    margin: float = field(default=MISSING, metadata=bounded(NOT_NEGATIVE))
    output: str | None = None


ROOTS = {
    "prepare": PrepareConfig,
    "train": TrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "report": ReportConfig,
    "export": ExportConfig,
    "info": InfoConfig,
    "tasks": TasksConfig,
}


def bounds_of(root: str) -> dict[str, Bound]:
    """By dotted key, ``*`` for any name, of what the schema of ``conf/<root>.yaml`` describes."""
    return {setting.key: setting.bound for setting in settings_of(ROOTS[root]) if setting.bound is not None}


def text_keys(root: str) -> list[str]:
    """Dotted keys whose values are text, ``*`` for any name."""
    return [setting.key for setting in settings_of(ROOTS[root]) if setting.is_text] + (
        ["import"] if root == "prepare" else []
    )


def check_settings(config: DictConfig, root: str) -> None:
    """Every value within its bounds; numbers that a file gave where text of any shape is meant become text, in place.

    Raises:
        InputError: names the setting, its value, the bounds.
    """
    for setting in settings_of(ROOTS[root]):
        for key, value in list(values_at(config, setting.key)) if setting.is_text and setting.has_any_shape else ():
            if as_text(value) != value:
                OmegaConf.update(config, key, as_text(value), merge=False)
    check(config, bounds_of(root) | bounds_in(config), rules_in(config))


def register() -> None:
    """Put every root's schema where a defaults list finds it; let YAML name its own folder, and a run for loggers."""
    OmegaConf.register_new_resolver("uniseg_conf", lambda: str(CONF_DIR), replace=True)
    OmegaConf.register_new_resolver(
        "evaluation_dir", lambda run_dir, split: str(RunFolder(Path(run_dir)).evaluation(split).path), replace=True
    )
    OmegaConf.register_new_resolver("tracked", tracked, replace=True)
    OmegaConf.register_new_resolver(
        "is_inside", lambda path, folder: Path(path).resolve().is_relative_to(Path(folder).resolve()), replace=True
    )
    prepare = OmegaConf.structured(PrepareConfig)
    with open_dict(prepare):
        prepare["import"] = None
    store = ConfigStore.instance()
    for name, node in (ROOTS | {"prepare": prepare}).items():
        store.store(name=f"{name}_schema", node=node)
