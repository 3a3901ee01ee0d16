"""The shape of every configuration: a misspelt key is an error when it is composed."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf, open_dict

from uniseg.config import CONF_DIR
from uniseg.training.tracking import tracked


@dataclass
class NormalizationConfig:
    mode: str = MISSING
    lower: float | None = None
    upper: float | None = None
    mean: float | None = None
    sd: float | None = None
    masked: bool | None = None


@dataclass
class SourceConfig:
    layout: str = MISSING
    root: str = MISSING
    label_map: dict[int, int] = field(default_factory=dict)
    ignore: int | None = None
    absent: list[str] = field(default_factory=list)
    patient_pattern: str | None = None
    cases_per_patient: int = 1
    patient_namespace: str | None = None
    splits: Any = None
    homepage: str = ""
    licence: str = ""


@dataclass
class TaskConfig:
    modalities: list[str] = MISSING
    classes: list[str] = MISSING
    spacing_mm: list[float] = MISSING
    normalization: dict[str, NormalizationConfig] = MISSING
    regions: dict[str, list[int]] = field(default_factory=dict)
    optional: list[str] = field(default_factory=list)
    reference: str | None = None
    source: SourceConfig = field(default_factory=SourceConfig)


@dataclass
class DataConfig:
    fold: int = MISSING
    patch_size: list[int] = MISSING
    batch_size: int = MISSING
    steps_per_epoch: int = MISSING
    val_steps: int = MISSING
    tasks_per_batch: int | None = MISSING
    task_weights: Any = MISSING
    foreground_fraction: float = MISSING
    num_patients: int | None = MISSING
    num_workers: int = MISSING
    pin_memory: bool = MISSING


@dataclass
class PathsConfig:
    data: str = MISSING
    cache: str = MISSING
    outputs: str = MISSING
    splits: str = MISSING
    phantoms: str = MISSING


@dataclass
class PhantomConfig:
    num_cases: int = MISSING
    seed: int = MISSING
    shared_style: bool = MISSING


@dataclass
class InferenceConfig:
    overlap: float = MISSING
    window_batch: int = MISSING
    mirror_axes: list[int] = MISSING
    skip_empty: bool = MISSING
    gate: bool = MISSING
    max_memory_gb: float | None = MISSING
    device: str = MISSING


@dataclass
class SpeedConfig:
    compile: bool = MISSING
    channels_last: bool = MISSING
    checkpoint_activations: bool = MISSING


@dataclass
class InitConfig:
    name: str = MISSING
    run: str | None = None
    checkpoint: str | None = MISSING
    dry_run: bool = MISSING


@dataclass
class StrategyConfig:
    name: str = MISSING
    extend: bool = MISSING
    adapter_channels: int = MISSING
    trained: str = MISSING
    freeze_encoder: bool = MISSING
    heads_first_steps: int = MISSING
    layer_decay: float = MISSING


@dataclass
class RunConfig:
    """What an experiment fixes; prepare, train and evaluate read the same one."""

    name: str = MISSING
    run_dir: str = MISSING
    seed: int = MISSING
    tasks: dict[str, TaskConfig] = MISSING
    data: DataConfig = MISSING
    paths: PathsConfig = MISSING
    inference: InferenceConfig = MISSING
    phantom: PhantomConfig | None = None
    init: InitConfig = MISSING
    strategy: StrategyConfig = MISSING
    model: Any = MISSING
    augment: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    speed: SpeedConfig = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING


@dataclass
class AuditConfig:
    only: bool = MISSING


@dataclass
class PrepareConfig(RunConfig):
    """The key ``import`` is added in ``register``: a word of Python's own cannot be a field."""

    num_workers: int = MISSING
    plan: bool = MISSING
    plan_output: str = MISSING
    gpu_memory_gb: float = MISSING
    measure_memory: bool = MISSING
    plan_spacing: str = MISSING
    plan_share_within: float = MISSING
    plan_width: list[int] = MISSING
    plan_precision: str = MISSING
    audit: AuditConfig = MISSING
    prune: bool = MISSING
    preprocessed: str | None = None
    overwrite: bool = False


@dataclass
class TrainConfig(RunConfig):
    ckpt_path: str | None = None
    overwrite: bool = False


@dataclass
class RulesConfig:
    tolerance_mm: float = MISSING
    tolerances_mm: dict[str, float] = MISSING
    surfaces: bool = MISSING
    lesion_overlap: float = MISSING
    lesions: bool = MISSING


@dataclass
class EvaluateConfig(RunConfig):
    rules: RulesConfig = MISSING
    checkpoint: Any = None
    task_files: list[str] = MISSING
    side: str = MISSING
    postprocessing: str | None = None
    predictions: str | None = None
    labels: str | None = None
    predictions_use: str | None = None
    pool: list[str] | None = None
    output: str = MISSING


@dataclass
class PredictConfig:
    checkpoint: Any = MISSING
    task_files: list[str] = MISSING
    input: Any = MISSING
    output: str = MISSING
    tasks: Any = MISSING
    modality: list[str] | None = None
    merge: bool = MISSING
    probabilities: bool = MISSING
    postprocessing: str | None = None
    inference: InferenceConfig = MISSING


@dataclass
class ExportConfig:
    checkpoint: Any = MISSING
    output: str = MISSING
    added_task: str | None = None
    delta_of: str | None = None
    base: str | None = None
    scores: str | None = None


@dataclass
class ReportConfig:
    run: str | None = None
    run_dir: str | None = None
    name: str = MISSING
    logger: Any = None
    runs: list[str] | None = None
    sweep: str | None = None
    metric: str = MISSING
    margin: float = MISSING
    output: str | None = None


def register() -> None:
    """Put every root's schema where a defaults list finds it; let YAML name its own folder, and a run for loggers."""
    OmegaConf.register_new_resolver("uniseg_conf", lambda: str(CONF_DIR), replace=True)
    OmegaConf.register_new_resolver("evaluation_dir", lambda side: "evaluation" if side == "test" else f"evaluation_{side}", replace=True)
    OmegaConf.register_new_resolver("tracked", tracked, replace=True)
    prepare = OmegaConf.structured(PrepareConfig)
    with open_dict(prepare):
        prepare["import"] = None
    store = ConfigStore.instance()
    for name, node in {
        "prepare": prepare,
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "predict": PredictConfig,
        "report": ReportConfig,
        "export": ExportConfig,
    }.items():
        store.store(name=f"{name}_schema", node=node)
