"""Where a run resumes, and whether it may: the same tasks, network, optimiser and splits."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

from uniseg.datasets.split_file import SPLITS
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.task import Task, TaskSet
from uniseg.training.logs import truncate_log
from uniseg.training.run_record import KEY as RECORD
from uniseg.training.run_record import RunRecord, class_name, flatten, shorten
from uniseg.weights.checkpoint import KEY, read_checkpoint
from uniseg.weights.seen import current_facts

OF_SCHEDULE = ("params", "lr", "initial_lr")  # of an optimiser's group; the rates follow the schedule


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint that a run resumes from, without its tensors.

    Attributes:
        step: optimiser's steps that are done.
        epoch, epoch_steps: epochs whose steps are all done; steps that are done of the next one.
        tasks: of the network, in its order.
        config: that rebuilds the network.
        data: facts by task, of all that the network has seen.
        record: None for a checkpoint of an older version.
        groups: of the optimiser: settings, with the number of parameters under ``params``.
        shapes: name of a tensor of the module -> its shape.

    Examples:
        >>> def steps_done(path: str) -> int:
        ...     point: ResumePoint = read_resume_point(path)
        ...     return point.step
    """

    path: Path
    step: int
    epoch: int
    epoch_steps: int
    tasks: TaskSet
    config: Mapping
    data: Mapping[str, Mapping]
    record: RunRecord | None
    groups: Sequence[Mapping]
    shapes: Mapping[str, tuple[int, ...]]

    def order(self, names: Sequence[str], *, added: bool) -> list[str]:
        """The names of a run's tasks as the checkpoint has them.

        Args:
            names: as the run has them.
            added: the run's tasks were added to a network of others.

        Raises:
            InputError: other tasks.
        """
        known = (
            self.record.order
            if self.record
            else [name for name in self.tasks.names if name in names]
            if added
            else self.tasks.names
        )
        if set(names) != set(known):
            raise self._differs("the tasks", ", ".join(names), ", ".join(known))
        if added and not self.record:  # which does not tell the order of its data
            return list(names)
        if list(names) != list(known):
            rank_zero_info(f"The tasks come in the order of {self.path}: {', '.join(known)}.")
        return list(known)

    def require_same(
        self, model: UniSegModel, shapes: Mapping[str, tuple[int, ...]], optimizer: Optimizer, record: RunRecord
    ) -> None:
        """
        Args:
            model: of the run, new.
            shapes: as the attribute.
            optimizer: of the run, new.
            record: of the run.

        Raises:
            InputError: names the first thing in which the run differs from what the checkpoint holds.
        """
        if model.tasks.names != self.tasks.names:
            raise self._differs("the network's tasks", ", ".join(model.tasks.names), ", ".join(self.tasks.names))
        for task, saved_task in zip(model.tasks, self.tasks, strict=True):
            self._require_same_task(task, saved_task)
        config, saved_config = (
            flatten({key: value for key, value in each.items() if key != "norm_eps"})  # comes with the weights
            for each in (model.config, self.config)
        )
        # a checkpoint of an older version lacks some keys
        self._require_equal("the model's", {key: config.get(key) for key in saved_config}, saved_config)
        self._require_equal("the shape of", shapes, self.shapes)
        self._require_same_optimizer(optimizer)
        self._require_same_splits(record)

    def _require_same_task(self, task: Task, saved: Task) -> None:
        values, saved_values = task.definition(), saved.definition()
        for key in values:
            if values[key] != saved_values[key]:
                raise self._differs(f"{key} of task '{task.name}'", values[key], saved_values[key])

    def _require_same_optimizer(self, optimizer: Optimizer) -> None:
        name = class_name(optimizer)
        if self.record and self.record.optimizer != name:
            raise self._differs("the optimiser", name, self.record.optimizer)
        saved_keys = {key for group in self.groups for key in group} - {"initial_lr"}
        lacking = sorted(saved_keys - {key for group in optimizer.param_groups for key in group})
        if lacking:
            raise self._differs("the optimiser", f"{name} without {lacking[0]}", f"one with {lacking[0]}")
        sizes = [len(group["params"]) for group in optimizer.param_groups]
        saved_sizes = [group["params"] for group in self.groups]
        if sizes != saved_sizes:
            raise self._differs("the optimiser's parameters by group", sizes, saved_sizes)

    def _require_same_splits(self, record: RunRecord) -> None:
        saved = self.record.splits if self.record else self.data
        for name in (name for name in record.splits if name in saved):
            for split in SPLITS:
                case_ids, saved_ids = set(record.splits[name][split]), set(saved[name].get(split, ()))
                for case_id in sorted(case_ids ^ saved_ids)[:1]:
                    words = ("in it", "not in it") if case_id in case_ids else ("not in it", "in it")
                    raise self._differs(f"the {split} split of task '{name}', with case '{case_id}'", *words)

    def _require_equal(self, what: str, values: Mapping[str, object], saved: Mapping[str, object]) -> None:
        for key in sorted({*values, *saved}):
            if values.get(key) != saved.get(key):
                raise self._differs(f"{what} {key}", values.get(key), saved.get(key))

    def _differs(self, what: str, value: object, saved: object) -> InputError:
        fix = f"resume it as it was, or start a run of another name with init=checkpoint init.checkpoint={self.path}"
        return InputError("ckpt_path", f"{what}: {shorten(value)}", f"{shorten(saved)}, as in {self.path}", fix)

    def require_steps_left(self, max_epochs: int, steps_per_epoch: int) -> None:
        """
        Raises:
            InputError: more is done than the run's epochs hold.
        """
        if 0 <= max_epochs < self.epoch:
            raise InputError(
                "trainer.max_epochs",
                str(max_epochs),
                f"{self.epoch} or more, which are done in {self.path}",
                "give more epochs",
            )
        if self.epoch_steps >= steps_per_epoch:
            expected = f"more than {self.epoch_steps}, which are done of the current epoch in {self.path}"
            fix = "give more steps, or those that the run started with"
            raise InputError("data.steps_per_epoch", str(steps_per_epoch), expected, fix)

    def extra_steps(self, steps_per_epoch: int, accumulated: int) -> int:
        """Optimiser's steps that are done beyond those which the done epochs have at ``steps_per_epoch`` batches.

        Args:
            accumulated: batches per step.
        """
        return self.step - self.epoch * ceil(steps_per_epoch / accumulated) - self.epoch_steps // accumulated

    def changed(self, settings: Mapping[str, object]) -> list[str]:
        """``key before -> now`` for each setting that is not as it was."""
        return self.record.changed(settings) if self.record else []


def read_resume_point(path: str | Path) -> ResumePoint:
    """What a training checkpoint tells of its run.

    Raises:
        InputError: missing, unreadable, or without the state that a run needs to resume.
    """
    content = read_checkpoint(path)
    try:
        return _resume_point(Path(path), content)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        found = " ".join(f"no state of a training ({type(error).__name__}: {error})".split())
        raise InputError(
            path,
            found,
            "a checkpoint that uniseg.train wrote",
            "start with its weights: init=checkpoint init.checkpoint=<file>",
        ) from error


def _resume_point(path: Path, content: Mapping) -> ResumePoint:
    description = content[KEY]
    epoch, epoch_steps = epochs_done(content["loops"]["fit_loop"])
    record = description.get(RECORD)
    return ResumePoint(
        path,
        int(content["global_step"]),
        epoch,
        epoch_steps,
        tasks=TaskSet.from_list(description["tasks"]),
        config=dict(description["model"]),
        data={name: current_facts(facts) for name, facts in description.get("data", {}).items()},
        record=RunRecord.from_dict(record) if record else None,
        groups=[group | {"params": len(group["params"])} for group in content["optimizer_states"][0]["param_groups"]],
        shapes={name: tuple(tensor.shape) for name, tensor in content["state_dict"].items()},
    )


def epochs_done(fit_loop: Mapping) -> tuple[int, int]:
    """Epochs whose steps are all done, and steps that are done of the next one, as Lightning has counted."""
    batches, epoch = fit_loop["epoch_loop.batch_progress"], int(fit_loop["epoch_progress"]["current"]["ready"])
    return (epoch, 0) if batches["is_last_batch"] else (epoch - 1, int(batches["current"]["ready"]))


def find_resume_point(checkpoint: str | None, folder: RunFolder) -> ResumePoint | None:
    """``last`` is the readable checkpoint of the folder with the most steps; None where there is none yet.

    Args:
        checkpoint: last, a path, or None.

    Raises:
        InputError: no such file; or it cannot be read, for ``last``: nor can any other.
    """
    if checkpoint is None:
        return None
    if checkpoint != "last":
        return read_resume_point(checkpoint)
    points: list[ResumePoint] = []
    unreadable: list[InputError] = []
    for path in folder.saved_checkpoints():
        try:
            points.append(read_resume_point(path))
        except InputError as error:
            unreadable.append(error)
    if unreadable and not points:
        raise unreadable[0]
    for refusal in unreadable:
        rank_zero_info(f"Passed over: {refusal}")
    if not points:
        rank_zero_info(f"No checkpoint in {folder.checkpoints} yet: the run starts from the beginning.")
    return max(points, key=lambda point: (point.step, point.path.stat().st_mtime_ns), default=None)


def follow_settings(checkpoint: dict, optimizer: Optimizer) -> None:
    """Give the optimiser's state in ``checkpoint`` the settings of ``optimizer``, which is new.

    torch would bring back the old ones. A learning rate keeps its place in the schedule.
    """
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    for saved, group in zip(groups, optimizer.param_groups, strict=True):
        saved.update({key: value for key, value in group.items() if key not in OF_SCHEDULE})
        before = saved.get("initial_lr", group["lr"])
        if before != group["lr"]:
            saved["lr"] = saved["lr"] * group["lr"] / before if before else group["lr"]
            saved["initial_lr"] = group["lr"]
    for schedule in checkpoint["lr_schedulers"]:
        schedule["base_lrs"] = [group["initial_lr"] for group in groups]


def report_resumption(trainer: Trainer, resume_point: ResumePoint, record: RunRecord) -> None:
    """Say where a run resumes and what has changed; cut its log there."""
    rank_zero_info(f"Resuming after step {resume_point.step} of {resume_point.path}.")
    if changed := resume_point.changed(record.settings):
        rank_zero_info(f"Changed since then: {', '.join(changed)}.")
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            truncate_log(logger, resume_point.step)


def fit(trainer: Trainer, module: LightningModule, data: LightningDataModule, resume_point: ResumePoint | None) -> None:
    """From the resume point on, or from the start."""
    with warnings.catch_warnings():
        # The sampler starts after the last consumed batch by itself.
        warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")
        trainer.fit(module, datamodule=data, ckpt_path=resume_point and resume_point.path, weights_only=True)
