"""Every YAML on disk composes; everything with a ``_target_`` can be built."""

from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from lightning import Trainer
from omegaconf import OmegaConf

from uniseg.adaptation.settings import AdaptSettings
from uniseg.commands import schema
from uniseg.commands.arguments import MAY_BE_EMPTY
from uniseg.commands.builders import sources_of, tasks_of
from uniseg.datasets.dataset_file import declared_tasks
from uniseg.environment import CONF_DIR
from uniseg.evaluation.crossval import CrossvalSettings
from uniseg.evaluation.scoring import ScoringRules
from uniseg.inference.settings import InferenceSettings
from uniseg.models.uniseg import UniSegModel
from uniseg.phantom.suite import PhantomSettings
from uniseg.planning.settings import PlanSettings
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.reporting.view_settings import CompareSettings, ReportSettings, ViewSettings
from uniseg.sampling.settings import StreamSettings
from uniseg.service.settings import ServiceSettings
from uniseg.settings import as_plain
from uniseg.training.control import FinetuneSettings
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitSettings
from uniseg.training.speed import SpeedSettings, resolve_trainer

ROOTS = sorted(path.stem for path in CONF_DIR.glob("*.yaml") if path.stem != "stack")
GROUPS = sorted(
    {path.relative_to(CONF_DIR) for path in CONF_DIR.rglob("*.yaml")}
    - {Path(f"{name}.yaml") for name in [*ROOTS, "stack"]}
)
EXPERIMENTS = sorted(path.stem for path in (CONF_DIR / "experiment").glob("*.yaml"))
TRANSFORM = ("augment", "transform")
MANDATORY = {(PlanSettings, "gpu_memory_gb")}  # which a user must give, in Python as on the command line
TASKS = sorted([*(path.stem for path in (CONF_DIR / "task").glob("*.yaml")), *declared_tasks(CONF_DIR)])
DATASETS = sorted(path.stem for path in (CONF_DIR / "dataset").glob("*.yaml"))


def composed(root="train", overrides=(), tmp_path=None):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose(root, overrides=[*overrides, *([f"run_dir={tmp_path}"] if tmp_path else [])])


def test_the_lists_are_not_empty():
    assert set(ROOTS) >= {"prepare", "train", "predict", "evaluate", "report"}
    assert len(GROUPS) > 40
    assert len(EXPERIMENTS) >= 3
    assert len(TASKS) >= 39
    assert len(set(TASKS)) == len(TASKS)
    assert len(DATASETS) >= 3


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_composes(root):
    assert composed(root)


def choosing(path):
    """The overrides that choose a file of a group."""
    group, choice = "/".join(path.parts[:-1]), path.stem
    if path.parts[:-1] == TRANSFORM:  # any number beside each other, each under a name
        return [f"+{group}@augment.transforms.added={choice}"]
    if group == "normalization":  # of one modality of one task
        return ["task=[liver]", f"+{group}@tasks.liver.{group}.CT={choice}"]
    return [f"{group}=[{choice}]" if group in ("task", "dataset", "pretext") else f"{group}={choice}"]


@pytest.mark.parametrize("path", [g for g in GROUPS if g.parts[0] not in ("experiment", "hydra", "metric")], ids=str)
def test_every_group_file_composes_into_a_run(path, tmp_path):
    config = composed("train", choosing(path), tmp_path)
    assert OmegaConf.to_container(config, resolve=True, throw_on_missing=False)


@pytest.mark.parametrize("root", ["prepare", "train", "evaluate"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_fits_every_stage(name, root, tmp_path):
    config = composed(root, [f"experiment={name}"], tmp_path)
    tasks = tasks_of(config)
    assert set(tasks.names) == set(sources_of(config))
    model = instantiate(config.model, _convert_="all")(tasks, patch_size=tuple(config.data.patch_size))
    assert isinstance(model, UniSegModel)
    instantiate(config.augment, _convert_="all")
    optimizer = instantiate(config.optimizer, _convert_="all")(model.parameters())
    assert instantiate(config.scheduler, _convert_="all")(optimizer, num_steps=100).get_last_lr()[0] > 0
    assert instantiate(config.loss)


def partial_targets():
    found = [path for path in GROUPS if "_target_" in yaml.safe_load((CONF_DIR / path).read_text())]
    assert len(found) > 10
    return found


@pytest.mark.parametrize("path", partial_targets(), ids=str)
def test_everything_with_a_target_can_be_built(path, tmp_path):
    if path.parts[0] == "trainer":
        chosen = resolve_trainer(composed("train", [], tmp_path).trainer)
        assert isinstance(instantiate(chosen, logger=False, _convert_="all"), Trainer)
        return
    key = "augment.transforms.added" if path.parts[:-1] == TRANSFORM else ".".join(path.parts[:-1])
    root, run_dir = ("report", None) if key == "metric" else ("train", tmp_path)
    assert instantiate(OmegaConf.select(composed(root, choosing(path), run_dir), key), _convert_="all")


@pytest.mark.parametrize("path", [g for g in GROUPS if g.parts[0] in ("callbacks", "logger")], ids=str)
def test_callbacks_with_loggers_can_be_built(path, tmp_path):
    if path.parts[0] == "logger":
        pytest.importorskip(path.stem)  # csv, wandb, tensorboard: each is named after its package
    config = composed("train", [f"{path.parts[0]}={path.stem}"], tmp_path)
    assert all(instantiate(config[path.parts[0]]).values())


def mandatory_values():
    """(file, dotted key in it) of each value that a user must give."""

    def missing(values, prefix=""):
        for key, value in values.items():
            if isinstance(value, dict):
                yield from missing(value, f"{prefix}{key}.")
            elif value == "???":
                yield f"{prefix}{key}"

    files = sorted(path.relative_to(CONF_DIR) for path in CONF_DIR.rglob("*.yaml"))
    found = [(path, key) for path in files for key in missing(yaml.safe_load((CONF_DIR / path).read_text()))]
    assert len(found) >= 5
    return found


LISTS = ("runs",)  # of them


@pytest.mark.parametrize(("path", "key"), mandatory_values(), ids=str)
def test_a_mandatory_value_is_missing_until_it_is_given(path, key):
    """It does not take the place of a value that another file of the defaults list has."""
    group = ".".join(path.parts[:-1])
    root, overrides = ("train", [f"{group.replace('.', '/')}={path.stem}"]) if group else (path.stem, [])
    where = f"{group}.{key}".lstrip(".")
    parent, _, name = where.rpartition(".")
    config = composed(root, overrides)
    assert OmegaConf.is_missing(OmegaConf.select(config, parent) if parent else config, name)
    given = "[a,b]" if where in LISTS else "7"
    assert OmegaConf.select(composed(root, [*overrides, f"{where}={given}"]), where) in (7, "7", ["a", "b"])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_a_task_with_a_source(name):
    config = composed("train", [f"task=[{name}]"])
    (task,) = tasks_of(config)
    assert task.name == name
    source = sources_of(config)[name]
    assert source.homepage
    assert source.licence
    source.given_splits()


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_all_its_tasks_with_one_source(name):
    config = composed("train", [f"dataset=[{name}]"])
    declared = [task for task, path in declared_tasks(CONF_DIR).items() if path.stem == name]
    assert tasks_of(config).names == tuple(declared)
    sources = list(sources_of(config).values())
    assert all(source == sources[0] for source in sources)
    alone = composed("train", [f"task=[{declared[-1]}]"])
    assert tasks_of(alone) == tasks_of(config)[-1:]
    assert sources_of(alone)[declared[-1]] == sources[-1]


def test_an_experiments_seed_is_not_lost():
    experiment = composed("train", ["experiment=upstream"])
    assert experiment.name == "upstream"
    assert composed("train", ["experiment=upstream", "seed=7"]).seed == 7


def test_the_published_recipe():
    config = composed("train", ["experiment=upstream"])
    assert list(config.data.patch_size) == [64, 192, 192]
    assert (
        config.data.batch_size,
        config.data.steps_per_epoch,
        config.data.tasks_per_batch,
        config.trainer.max_epochs,
    ) == (2, 550, 1, 1000)
    assert (
        config.optimizer.lr,
        config.optimizer.momentum,
        config.optimizer.weight_decay,
        config.trainer.gradient_clip_val,
    ) == (0.01, 0.99, 3e-5, 12)
    assert config.scheduler.hold_steps == 550
    assert list(config.tasks) == [
        "liver", "kidney", "hepatic_vessel", "pancreas", "colon", "lung", "spleen", "vertebrae", "prostate",
        "brain_tumour", "whole_body_tumour",
    ]  # fmt: skip
    model = instantiate(config.model, _convert_="all")(tasks_of(config), patch_size=tuple(config.data.patch_size))
    biases = 32_114_381 - sum(p.numel() for p in model.parameters())
    assert biases == 3 * 32 + 32 + 2 * (64 + 128 + 256 + 320 + 320) + 2 * (320 + 256 + 128 + 64 + 32) + 82 + 82 + 11


@pytest.mark.parametrize(
    "override",
    ["trainer.max_epochs=2 lr=1", "data.patchsize=[8,8,8]", "optimiser=sgd", "task=[livr]", "tasks.liver.clases=[a]"],
)
def test_a_misspelt_key_is_an_error(override):
    with pytest.raises(HydraException):
        composed("train", ["task=[liver]", *override.split()])


def settings_classes():
    """(root, key, dataclass) of every group whose schema is derived from a dataclass, once each; a root whose own keys
    are those of a dataclass has the key ``""``.
    """
    found = {}
    for root, config in schema.ROOTS.items():
        keys = [(key, part) for key, hint in get_type_hints(config).items() for part in (hint, *union_parts(hint))]
        for key, kind in [*keys, *(("", base) for base in config.__mro__)]:
            if isinstance(kind, type) and "run_time_class" in vars(kind):
                found.setdefault(kind.run_time_class, (root, key, kind.run_time_class))
    return list(found.values())


def union_parts(hint):
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else ()


def test_no_dataclass_of_settings_is_left_out():
    assert {settings for _, _, settings in settings_classes()} == {
        AdaptSettings,
        CompareSettings,
        CompletionSettings,
        CrossvalSettings,
        FineTuning,
        FinetuneSettings,
        InferenceSettings,
        InitSettings,
        PhantomSettings,
        PlanSettings,
        ReportSettings,
        ScoringRules,
        ServiceSettings,
        SpeedSettings,
        StreamSettings,
        ViewSettings,
    }


@pytest.mark.parametrize(
    ("root", "key", "settings"), settings_classes(), ids=lambda each: getattr(each, "__name__", each)
)
def test_python_and_yaml_have_the_same_defaults(root, key, settings):
    """A setting is declared once: what a notebook gets is what the command line gets."""
    assert getattr(settings, "group", "") == key
    config = composed(root, [f"{key}=default"] if key in MAY_BE_EMPTY else [])
    group = config[key] if key else OmegaConf.masked_copy(config, [each.name for each in fields(settings)])
    values = OmegaConf.to_container(group, resolve=True)
    for each in fields(settings):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if (settings, each.name) in MANDATORY:
            assert (default, values[each.name]) == (MISSING, "???")
        else:
            assert default is not MISSING, f"{each.name} has no default in Python"
            assert values[each.name] == as_plain(default), each.name
