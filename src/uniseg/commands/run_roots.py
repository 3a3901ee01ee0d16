"""The configuration of commands that work on an experiment: what all share, and the keys of each."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf  # noqa: F401 - the latter for the examples

from uniseg.commands.structured import schema_of
from uniseg.datasets.source import TaskBlock
from uniseg.evaluation.crossval import CrossvalSettings
from uniseg.evaluation.predictions import FILE_VALUES, TASK_VALUES
from uniseg.evaluation.run import SCORED_SPLITS
from uniseg.evaluation.scoring import ScoringRules
from uniseg.inference.settings import InferenceSettings
from uniseg.phantom.suite import PhantomSettings
from uniseg.planning.settings import PlanSettings
from uniseg.sampling.settings import StreamSettings
from uniseg.settings import (
    NO_LIMIT,
    NOT_EMPTY,
    PATHS,
    SEED,
    TEXT,
    bounded,
    number,
    word,
)
from uniseg.training.control import FinetuneSettings
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitSettings
from uniseg.training.speed import SpeedSettings


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
    pretext: Any = MISSING
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
    unpack: Any = field(default=None, metadata={"text": True} | bounded(PATHS))
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
class CrossvalConfig(RunConfig, schema_of(CrossvalSettings)):
    """Keys of ``crossval``.

    Examples:
        >>> OmegaConf.structured(CrossvalConfig(parallel=2)).parallel
        2
    """

    rules: ScoringSchema = MISSING


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
