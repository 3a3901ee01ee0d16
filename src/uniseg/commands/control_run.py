"""The run of new weights beside a fine-tuning, and the verdict on both."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from uniseg.cache.case_folder import PREPARE_AGAIN
from uniseg.commands.builders import (
    make_data,
    make_metrics,
    make_predictor,
    require_datasets,
    sources_of,
    tasks_of,
)
from uniseg.datasets.availability import missing_datasets
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.errors import InputError
from uniseg.evaluation.records import read_scores
from uniseg.evaluation.run import evaluate_run
from uniseg.evaluation.scoring import Scorer, ScoringRules
from uniseg.evaluation.verdict import FEWEST_PATIENTS, UNDECIDED, Verdict, dice_by_patient, judge
from uniseg.run_folder import RunFolder
from uniseg.settings import as_plain
from uniseg.task import TaskSet
from uniseg.training.control import FEW_PATIENTS, FinetuneSettings
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitSettings
from uniseg.weights.seen import find_seen
from uniseg.weights.transfer import ForeignWeights

VAL = "val"
UNPROVED = "the base does not say which patients it saw: that it never saw those of val is for you to know"


@dataclass(frozen=True)
class ControlPlan:
    """What becomes of the control.

    Attributes:
        datasets: whose val cases are scored; empty: no control.
        obstacle: why there can be none though one was due; empty where that is not so.
        caveat: what the verdict will rest on unproved.

    Examples:
        >>> ControlPlan((), "no val case").datasets
        ()
    """

    datasets: Sequence[Dataset] = ()
    obstacle: str = ""
    caveat: str = ""


def plan_control(
    config: DictConfig, settings: FinetuneSettings, source: ForeignWeights, say: Callable[[str], None]
) -> ControlPlan:
    """Whether a control is trained; says why not, or what its verdict will lack.

    Raises:
        InputError: it was asked for, and can tell nothing.
    """
    trained = _training_patients(config)
    if not trained:
        say("No control: no task has labels to judge by.")
        return ControlPlan()
    number = len({patient for patients in trained.values() for patient in patients})
    if not settings.wants_control(number):
        why = f"{number} training patients, {FEW_PATIENTS} or more" if settings.control else "control=false"
        say(f"No control ({why}): nothing will tell whether the base helped; control=true trains one.")
        return ControlPlan()
    if settings.control is True:
        require_datasets(sources_of(config))
    elif missing := missing_datasets(sources_of(config)):
        names = ", ".join(row.task for row in missing)
        return _without(f"the scans of {names} are not there, only their cache", say)
    datasets = find_datasets(TaskSet(tasks_of(config).segmentations), sources_of(config))
    _require_one_split(config, datasets, trained)
    if why := _obstacle(config, datasets, source):
        if settings.control is True:
            raise InputError(
                "control", why, "val cases that the base never saw", "choose another split, or control=false"
            )
        return _without(why, say)
    fold = config.data.fold
    patients = {each.splits.patients[case.case_id] for each in datasets for case in each.cases_of(VAL, fold)}
    if len(patients) < FEWEST_PATIENTS:
        say(few_patients(len(patients), [dataset.task.name for dataset in datasets]))
    caveat = "" if _names_cases(source) else UNPROVED
    if caveat:
        say(f"{source.name}: {caveat}.")
    return ControlPlan(datasets, caveat=caveat)


def few_patients(number: int, tasks: Sequence[str]) -> str:
    """What a verdict on so few will be, and how there could be more.

    Examples:
        >>> few_patients(1, ["liver"]).partition("; ")[0]
        '1 val patient: a verdict needs 5, so it will be undecided'
    """
    patients = "1 val patient" if number == 1 else f"{number} val patients"
    more = f"more: source.splits in the task file of {', '.join(tasks)}, then prepare again"
    return f"{patients}: a verdict needs {FEWEST_PATIENTS}, so it will be {UNDECIDED}; {more}."


def _without(why: str, say: Callable[[str], None]) -> ControlPlan:
    say(f"No control: {why}.")
    return ControlPlan((), why)


def _training_patients(config: DictConfig) -> dict[str, set[str]]:
    """By task, as the cache has them and ``data.num_patients`` leaves them."""
    data = make_data(config, tasks_of(config).names)
    names = [task.name for task in data.tasks.segmentations]
    return {name: {data.patients[name][case_id] for case_id in data.splits[name].train} for name in names}


def _require_one_split(config: DictConfig, datasets: Sequence[Dataset], trained: Mapping[str, set[str]]) -> None:
    """
    Raises:
        InputError: the cache was prepared with another split than the task's file has now, so that both networks would
            be judged on patients they were trained on.
    """
    for dataset in datasets:
        patients = dataset.splits.patients
        val = {patients[case.case_id] for case in dataset.cases_of(VAL, config.data.fold)}
        if both := sorted(val & trained[dataset.task.name]):
            found = f"patient '{both[0]}' of {dataset.task.name} for training"
            expected = "the split of the task's file, where it is for val"
            raise InputError(config.paths.cache, found, expected, PREPARE_AGAIN)


def _obstacle(config: DictConfig, datasets: Sequence[Dataset], source: ForeignWeights) -> str:
    """Why no control can tell anything; empty where one can."""
    num_cases = 0
    for dataset in datasets:
        name, patients = dataset.task.name, dataset.splits.patients
        scored = {case_id: patients[case_id] for case_id in dataset.splits.fold(name, config.data.fold)[VAL]}
        num_cases += len(scored)
        if seen := next(iter(find_seen(source.provenance.data, name, scored, ("train",))), None):
            return f"the base was trained on val case '{seen.case_id}' of {name}, or on its patient"
    return "" if num_cases else "no val case"


def _names_cases(source: ForeignWeights) -> bool:
    return any(facts.get("train") or facts.get("patients") for facts in source.provenance.data.values())


def repeat_config(config: DictConfig, number: int) -> DictConfig:
    """The same fine-tuning with the seed that many after the run's, in a folder of its own below; 0 is the run."""
    if not number:
        return config
    repeated = deepcopy(config)
    repeated.run_dir = str(RunFolder(Path(config.run_dir)).repeat(number).path)
    repeated.seed = config.seed + number
    repeated.ckpt_path, repeated.overwrite = "last", False
    return repeated


def control_config(config: DictConfig) -> DictConfig:
    """The same run with new weights and the schedule of the configuration, in a folder of its own, where it is resumed
    if it was begun.
    """
    control = deepcopy(config)
    control.run_dir = str(RunFolder(Path(config.run_dir)).control.path)
    control.init.update(as_plain(InitSettings()) | {"name": "scratch"})
    control.finetune.update(as_plain(FineTuning()) | {"name": "full"})
    control.base, control.ckpt_path, control.overwrite = None, "last", False
    return control


def judge_runs(config: DictConfig, plan: ControlPlan, repeats: int) -> Verdict:
    """Both networks, of every repeat, on the whole val cases; written to ``verdict.json`` of the run.

    Raises:
        InputError: a case cannot be predicted or scored.
    """
    run = RunFolder(Path(config.run_dir))
    if plan.obstacle:
        verdict = Verdict(UNDECIDED, plan.obstacle, str(run.checkpoint))
    else:
        tuned = [run.repeat(number) for number in range(repeats)]
        dice = [
            [_val_dice(config, plan.datasets, folder) for folder in folders]
            for folders in (tuned, [folder.control for folder in tuned])
        ]
        verdict = judge(dice[0], dice[1], (str(run.checkpoint), str(run.control.checkpoint)))
        verdict = replace(verdict, caveat=plan.caveat)
    verdict.write(run.verdict)
    return verdict


def _val_dice(config: DictConfig, datasets: Sequence[Dataset], run: RunFolder) -> dict[str, float]:
    predictor = make_predictor(str(run.checkpoint), (), config.inference)
    scorer = Scorer(ScoringRules(surfaces=False, lesions=False), make_metrics())
    output = run.evaluation(VAL)
    evaluate_run(
        predictor,
        datasets,
        scorer,
        split=VAL,
        fold=config.data.fold,
        output=output,
        checkpoint=str(run.checkpoint),
        title=f"evaluate {run.path.name}",
    )
    return dice_by_patient(read_scores(output.scores))
