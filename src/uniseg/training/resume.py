"""Whether a run may go on from a checkpoint: the same tasks, network, optimiser, splits; other changes are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

from uniseg.datasets.split_file import SPLITS, with_current_splits
from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.renamed import renamed_key
from uniseg.task import Task, TaskSet
from uniseg.weights.checkpoint import KEY, read_checkpoint
from uniseg.weights.seen import current_facts

RECORD = "run"  # beside the network's description in a checkpoint: what a run is recognised by
OWN_OF_GROUP = ("params", "lr", "initial_lr")  # of an optimiser's group; the rates follow the schedule
LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True)
class RunRecord:
    """What a run is recognised by when it goes on.

    Attributes:
        order: task names in the order of the data.
        splits: task name -> split -> case ids.
        optimizer: name of its class; empty where it is not known.
        settings: of the configuration, by dotted key.
    """

    order: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Sequence[str]]]
    optimizer: str
    settings: Mapping[str, object]

    def to_dict(self) -> dict:
        """Plain containers for the checkpoint."""
        splits = {name: {split: list(cases) for split, cases in own.items()} for name, own in self.splits.items()}
        return {
            "order": list(self.order),
            "splits": splits,
            "optimizer": self.optimizer,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint without its tensors.

    Attributes:
        step: optimiser's steps that are done.
        epoch, epoch_steps: epochs whose steps are all done; steps that are done of the one behind them.
        tasks: of the network, in its order.
        config: that rebuilds the network.
        data: facts by task, of all that the network has seen.
        record: None for a checkpoint of an older version.
        groups: of the optimiser: settings, with the number of parameters under ``params``.
        shapes: name of a tensor of the module -> its shape.
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
        for own, saved in zip(model.tasks, self.tasks, strict=True):
            self._require_same_task(own, saved)
        config, saved_config = flatten(model.config), flatten(self.config)
        # older ones lack some keys
        self._require_equal("the model's", {key: config.get(key) for key in saved_config}, saved_config)
        self._require_equal("the shape of", shapes, self.shapes)
        self._require_same_optimizer(optimizer)
        self._require_same_splits(record)

    def _require_same_task(self, own: Task, saved: Task) -> None:
        one, other = own.to_dict(), saved.to_dict()
        for key in one:
            if one[key] != other[key]:
                raise self._differs(f"{key} of task '{own.name}'", one[key], other[key])

    def _require_same_optimizer(self, optimizer: Optimizer) -> None:
        name = class_name(optimizer)
        if self.record and self.record.optimizer != name:
            raise self._differs("the optimiser", name, self.record.optimizer)
        gone = sorted(
            {key for group in self.groups for key in group}
            - {"initial_lr"}
            - {key for group in optimizer.param_groups for key in group}
        )
        if gone:
            raise self._differs("the optimiser", f"{name} without {gone[0]}", f"one with {gone[0]}")
        sizes, saved = (
            [len(group["params"]) for group in optimizer.param_groups],
            [group["params"] for group in self.groups],
        )
        if sizes != saved:
            raise self._differs("the optimiser's parameters by group", sizes, saved)

    def _require_same_splits(self, record: RunRecord) -> None:
        before = self.record.splits if self.record else self.data
        for name in (name for name in record.splits if name in before):
            for split in SPLITS:
                own, saved = set(record.splits[name][split]), set(before[name].get(split, ()))
                for case_id in sorted(own ^ saved)[:1]:
                    found, expected = ("in it", "not in it") if case_id in own else ("not in it", "in it")
                    raise self._differs(f"the {split} split of task '{name}', with case '{case_id}'", found, expected)

    def _require_equal(self, what: str, own: Mapping[str, object], saved: Mapping[str, object]) -> None:
        for key in sorted({*own, *saved}):
            if own.get(key) != saved.get(key):
                raise self._differs(f"{what} {key}", own.get(key), saved.get(key))

    def _differs(self, what: str, own: object, saved: object) -> InputError:
        fix = f"go on as it began, or begin a run of another name with init=checkpoint init.checkpoint={self.path}"
        return InputError("ckpt_path", f"{what}: {shorten(own)}", f"{shorten(saved)}, as in {self.path}", fix)

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
            found, expected = (
                str(steps_per_epoch),
                f"more than {self.epoch_steps}, which are done of the epoch at hand in {self.path}",
            )
            raise InputError(
                "data.steps_per_epoch", found, expected, "give more steps, or those that the run began with"
            )

    def extra_steps(self, steps_per_epoch: int, accumulated: int) -> int:
        """Optimiser's steps that are done beyond those which the done epochs have at ``steps_per_epoch`` batches.

        Args:
            accumulated: batches per step.
        """
        return self.step - self.epoch * ceil(steps_per_epoch / accumulated) - self.epoch_steps // accumulated

    def changed(self, settings: Mapping[str, object]) -> list[str]:
        """``key before -> now`` for each setting that is not as it was."""
        before = self.record.settings if self.record else settings
        keys = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        return [f"{key} {shorten(before.get(key))} -> {shorten(settings.get(key))}" for key in keys]


def read_saved_run(path: str | Path) -> SavedRun:
    """What a training checkpoint tells of its run.

    Raises:
        InputError: missing, unreadable, or without what a run needs to go on.
    """
    content = read_checkpoint(path)
    try:
        return _saved_run(Path(path), content)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        found = " ".join(f"no state of a training ({type(error).__name__}: {error})".split())
        raise InputError(
            path,
            found,
            "a checkpoint that uniseg.train wrote",
            "begin with its weights: init=checkpoint init.checkpoint=<file>",
        ) from error


def _saved_run(path: Path, content: Mapping) -> SavedRun:
    own = content[KEY]
    epoch, epoch_steps = epochs_done(content["loops"]["fit_loop"])
    record = own.get(RECORD)
    return SavedRun(
        path,
        int(content["global_step"]),
        epoch,
        epoch_steps,
        tasks=TaskSet.from_list(own["tasks"]),
        config=dict(own["model"]),
        data={name: current_facts(facts) for name, facts in own.get("data", {}).items()},
        record=_record(record) if record else None,
        groups=[group | {"params": len(group["params"])} for group in content["optimizer_states"][0]["param_groups"]],
        shapes={name: tuple(tensor.shape) for name, tensor in content["state_dict"].items()},
    )


def _record(values: Mapping) -> RunRecord:
    settings = {renamed_key(key): value for key, value in values["settings"].items()}
    splits = {name: with_current_splits(own) for name, own in values["splits"].items()}
    return RunRecord(tuple(values["order"]), splits, str(values["optimizer"]), settings)


def epochs_done(fit_loop: Mapping) -> tuple[int, int]:
    """Epochs whose steps are all done, and steps that are done of the one behind them, as Lightning has counted."""
    batches, epoch = fit_loop["epoch_loop.batch_progress"], int(fit_loop["epoch_progress"]["current"]["ready"])
    return (epoch, 0) if batches["is_last_batch"] else (epoch - 1, int(batches["current"]["ready"]))


def find_saved_run(wanted: str | None, run_dir: Path) -> SavedRun | None:
    """``last`` is the readable checkpoint of ``run_dir`` with the most steps; None where there is none yet.

    Args:
        wanted: last, a path, or None.

    Raises:
        InputError: no such file; or it cannot be read, for ``last``: nor can any other.
    """
    if wanted is None:
        return None
    if wanted != "last":
        return read_saved_run(wanted)
    found: list[SavedRun] = []
    unreadable: list[InputError] = []
    for path in sorted((run_dir / "checkpoints").glob("*.ckpt")):
        try:
            found.append(read_saved_run(path))
        except InputError as error:
            unreadable.append(error)
    if unreadable and not found:
        raise unreadable[0]
    for error in unreadable:
        rank_zero_info(f"Passed over: {error}")
    if not found:
        rank_zero_info(f"No checkpoint in {run_dir / 'checkpoints'} yet: the run starts anew.")
    return max(found, key=lambda saved: (saved.step, saved.path.stat().st_mtime_ns), default=None)


def follow_settings(checkpoint: dict, optimizer: Optimizer) -> None:
    """Give the optimiser's state in ``checkpoint`` the settings of ``optimizer``, which is new.

    torch would bring back the old ones. A learning rate keeps its place in the schedule.
    """
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    for saved, own in zip(groups, optimizer.param_groups, strict=True):
        saved.update({key: value for key, value in own.items() if key not in OWN_OF_GROUP})
        before = saved.get("initial_lr", own["lr"])
        if before != own["lr"]:
            saved["lr"] = saved["lr"] * own["lr"] / before if before else own["lr"]
            saved["initial_lr"] = own["lr"]
    for schedule in checkpoint["lr_schedulers"]:
        schedule["base_lrs"] = [group["initial_lr"] for group in groups]


def class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def flatten(values: Mapping, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value; tuples become lists."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
