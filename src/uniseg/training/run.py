"""One training, start to end: the command makes it of its configuration, ``fit`` of its arguments."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from lightning import Trainer, seed_everything
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from uniseg.cache.statistics import task_statistics
from uniseg.cache.store import TaskCache
from uniseg.datasets.split_file import SPLITS
from uniseg.environment import PACKAGE_DIR, git_commit
from uniseg.errors import InputError
from uniseg.files import write_text
from uniseg.inference.settings import AUTO
from uniseg.models.pretexts import without_pretexts
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.settings import as_plain
from uniseg.task import TaskSet
from uniseg.training.callbacks.checkpoint_and_exit import CheckpointAndExit
from uniseg.training.callbacks.finite_loss import FiniteLoss
from uniseg.training.callbacks.gpu_memory import GpuMemory
from uniseg.training.callbacks.progress import EpochLog
from uniseg.training.callbacks.reconstructions import ReconstructionPictures
from uniseg.training.callbacks.resume_state import EpochMeans, StreamPosition
from uniseg.training.checkpoint_io import AtomicCheckpointIO
from uniseg.training.finetuning import PLAIN, FineTuning
from uniseg.training.folder_guard import clear, locked, require_unused
from uniseg.training.initialize import InitializedModel, InitSettings
from uniseg.training.logs import close_loggers, log_run, start_tracking
from uniseg.training.modules import DownstreamModule, UpstreamModule
from uniseg.training.optimization import Optimization
from uniseg.training.resume import ResumePoint, find_resume_point, fit, report_resumption
from uniseg.training.run_log import RunLog, describe_run, run_log
from uniseg.training.run_parts import EarlierRun, RunData, RunDescription, TrainerParts
from uniseg.training.run_record import RunRecord, class_name, flatten
from uniseg.training.segmentation import RunHistory, SegmentationModule
from uniseg.training.speed import (
    SpeedSettings,
    apply_speed_settings,
    describe_speed,
    num_processes,
    num_steps,
    resolve,
    training_device,
    with_fused_optimizer,
)
from uniseg.weights.build import require_loadable
from uniseg.weights.checkpoint import load_model
from uniseg.weights.seen import data_facts, merge_data

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of the configuration: what makes a run the same run, and is reported where it has changed.
RECORDED = ("seed", "data", "augment", "loss", "optimizer", "scheduler", "speed", "finetune", "trainer")


@dataclass(frozen=True)
class TrainingRun:
    """All that one training is made of; ``start`` runs it.

    Attributes:
        folder: of the run; None: nothing is written.
        new_model: network of the configuration, with new weights.
        optimization: loss, optimiser, schedule.
        init, finetuning, speed: what they say.

    Examples:
        >>> def steps_of(run: TrainingRun) -> int:
        ...     return run.start().global_step
    """

    folder: RunFolder | None
    data: RunData
    new_model: Callable[[TaskSet], UniSegModel]
    trainer: TrainerParts
    optimization: Optimization
    init: InitSettings = field(default_factory=InitSettings)
    finetuning: FineTuning = field(default_factory=FineTuning)
    speed: SpeedSettings = field(default_factory=SpeedSettings)
    description: RunDescription = field(default_factory=RunDescription)
    earlier: EarlierRun = field(default_factory=EarlierRun)

    def start(self) -> Trainer:
        """Train to the end; nothing is written before all is checked.

        Raises:
            InputError: data that is not prepared, a checkpoint that does not fit, a folder that another run has, a full
                disk.
            FloatingPointError: loss or weights are NaN or infinite; the last good checkpoint is kept.
            Stopped: by a signal; the state is saved.
        """
        with self._guarded(), run_log() as log:
            seed_everything(self.description.seed, workers=True, verbose=False)
            resume_point = find_resume_point(self.earlier.resume_from, self.folder) if self.folder else None
            replaces = self._replaces_run(resume_point)
            data = self.data.make(self._order(resume_point))
            return self._resolved(data, resume_point)._train(log, data, resume_point, replaces)

    def _train(self, log: RunLog, data: UniSegDataModule, resume_point: ResumePoint | None, replaces: bool) -> Trainer:
        initialized = self.initialize_model(data.tasks)
        if self.folder is not None:  # before anything of an earlier run is removed
            require_loadable(initialized.model)
        module = self._module(data, initialized, resume_point)
        if resume_point:
            self._require_same(resume_point, module, data.settings.steps_per_epoch)
        trainer = self._trainer(log, replaces, has_pretexts=bool(data.objectives))
        self._describe(trainer, data, initialized, module.history.commit)
        if resume_point:
            report_resumption(trainer, resume_point, module.history.record)
        try:
            fit(trainer, module, data, resume_point)
        finally:
            close_loggers(trainer.loggers)
        written = f": {self.folder.checkpoint}" if self.folder is not None and self.folder.checkpoint.is_file() else "."
        log.write(f"Finished after step {trainer.global_step}{written}")
        return trainer

    def _resolved(self, data: UniSegDataModule, resume_point: ResumePoint | None) -> "TrainingRun":
        """This run with what suits its device in place of every ``auto``, in its settings too."""
        trainer = self.description.settings.get("trainer", {})
        device = training_device(str(trainer.get("accelerator", "auto")))
        steps = num_steps(trainer, data.settings.steps_per_epoch)
        steps_left = max(0, steps - (resume_point.step if resume_point else 0))
        processes = num_processes(trainer.get("devices", 1), device)
        of_run = {"steps_left": steps_left, "processes": processes * int(trainer.get("num_nodes") or 1)}
        rank_zero_info(describe_speed(self.speed, device, **of_run))
        speed = resolve(self.speed, device, **of_run)
        stream = data.settings.for_device(device, processes)
        read = {"num_workers": stream.num_workers, "pin_memory": stream.pin_memory}
        rank_zero_info(f"Readers: {stream.num_workers}{', pinned memory' if stream.pin_memory else ''}.")
        chosen = {"speed": as_plain(speed), "data": {**self.description.settings.get("data", {}), **read}}
        return replace(
            self,
            speed=speed,
            optimization=with_fused_optimizer(self.optimization, speed),
            description=replace(self.description, settings={**self.description.settings, **chosen}),
        )

    def initialize_model(self, tasks: TaskSet) -> InitializedModel:
        """The network before its first step.

        Raises:
            InputError: checkpoint, fine-tuning, tasks and network do not go together.
        """
        return self._finetuning.initialize_model(self.new_model, tasks, self.init.path)

    @property
    def _finetuning(self) -> FineTuning:
        """Without a base little is left of it, but for the refusal of an extension."""
        return self.finetuning if self.init.path or self.finetuning.extend else self.finetuning.of_new_weights

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One training at a time in the folder; a full disk is an InputError."""
        if self.folder is None:
            yield
            return
        try:
            with locked(self.folder.path):
                yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            where = error.filename or self.folder.path
            fix = "make room, then resume with ckpt_path=last; the last good checkpoint is kept"
            raise InputError(where, error.strerror, "room to write", fix) from error

    def _replaces_run(self, resume_point: ResumePoint | None) -> bool:
        """Whether an earlier run in the folder is removed.

        Raises:
            InputError: the run would replace another.
        """
        if self.folder is None:
            return False
        run_dir = self.folder.path
        if resume_point and resume_point.path.resolve().is_relative_to(run_dir.resolve()):
            if self.earlier.overwrite:
                found = f"true, with ckpt_path={self.earlier.resume_from}, which resumes the run in {run_dir}"
                raise InputError("overwrite", found, "one of them", "leave the other out")
            return False
        return require_unused(
            run_dir, overwrite=self.earlier.overwrite, inputs=(self.earlier.resume_from, self.init.path)
        )

    def _order(self, resume_point: ResumePoint | None) -> Sequence[str]:
        names = self.data.task_names
        return resume_point.order(names, added=self.finetuning.extend) if resume_point else names

    def _module(
        self, data: UniSegDataModule, initialized: InitializedModel, resume_point: ResumePoint | None
    ) -> SegmentationModule:
        """The network with its optimisation, and with the record of all that it has seen."""
        model = initialized.model
        parts = {"tasks": data.tasks, "optimization": self.optimization, "objectives": data.objectives}
        module: SegmentationModule
        if self.init.path is None and self._finetuning.schedule == PLAIN:
            module = UpstreamModule(model, **parts)
        else:
            module = DownstreamModule(model, finetuning=self._finetuning, fresh=initialized.fresh, **parts)
        before = resume_point.data if resume_point else {}
        splits = {name: {split: cases[split] for split in SPLITS} for name, cases in data.splits.items()}
        facts = {}
        for cache in data.caches:
            name = cache.task.name
            facts[name] = self._facts(cache, splits[name], data.patients[name], before.get(name, {}).get("statistics"))
        values, keys = self.description.settings, (*RECORDED, *(["pretext"] if data.objectives else []))
        settings = flatten({key: values[key] for key in keys if key in values})
        accumulated = values.get("trainer", {}).get("accumulate_grad_batches", 1)
        mirrored = values.get("inference", {}).get("mirror_axes", AUTO)
        module.history = RunHistory(
            merge_data(merge_data(model.provenance.data, before), facts),
            git_commit(PACKAGE_DIR),
            RunRecord(data.tasks.names, splits, class_name(module.new_optimizer()), settings),
            resume_point.extra_steps(data.settings.steps_per_epoch, accumulated) if resume_point else 0,
            mirror_axes=() if mirrored == AUTO else tuple(mirrored),
        )
        apply_speed_settings(model, self.speed)
        return module

    def _facts(
        self,
        cache: TaskCache,
        splits: Mapping[str, Sequence[str]],
        patients: Mapping[str, str],
        statistics: Mapping | None,
    ) -> dict[str, Any]:
        """
        Args:
            statistics: of the same cases, where the run that resumes has them: they cost two dozen whole cases a task.
        """
        source = self.data.sources.get(cache.task.name)
        licence, homepage, citation = (source.licence, source.homepage, source.citation) if source else ("", "", "")
        stated = {"licence": licence, "homepage": homepage, "citation": citation}
        if statistics is None and not cache.task.is_pretext:
            statistics = task_statistics(cache, splits["train"]).to_dict()
        return data_facts(splits, patients, **stated, statistics=statistics)

    def _require_same(self, resume_point: ResumePoint, module: SegmentationModule, steps_per_epoch: int) -> None:
        """
        Raises:
            InputError: the run is another than that of the checkpoint, or more is done than it has.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        resume_point.require_same(module.model, shapes, module.new_optimizer(), module.history.record)
        max_epochs = self.description.settings["trainer"].get("max_epochs")
        resume_point.require_steps_left(-1 if max_epochs is None else max_epochs, steps_per_epoch)

    def _trainer(self, log: RunLog, replaces: bool, *, has_pretexts: bool) -> Trainer:
        """The Trainer with all callbacks; from here on the folder belongs to the run."""
        pictures = [ReconstructionPictures(self.folder)] if self.folder and has_pretexts else []
        if self.folder is not None:
            rank_zero_only(start_tracking)(
                self.folder.path, self.description.title, self.description.name, renew=replaces
            )
        trainer = self.trainer.make(
            default_root_dir=None if self.folder is None else str(self.folder.path),
            # What correctness needs comes first; a user may drop the others.
            callbacks=[
                StreamPosition(),
                EpochMeans(),
                CheckpointAndExit(),
                FiniteLoss(),
                GpuMemory(),
                *(self._finetuning.callbacks(self._former_model, self.folder) if self.folder else []),
                *(*pictures, *self.trainer.callbacks),
                EpochLog(log.write),
            ],
            logger=self.trainer.make_loggers() or False,
            plugins=[AtomicCheckpointIO()],
        )
        if replaces:
            rank_zero_only(clear)(self.folder.path)
        if self.folder is not None:
            log.open(self.folder.train_log)
        return trainer

    def _former_model(self) -> UniSegModel:
        """The network of ``init``, computing as that of the run does."""
        model: UniSegModel = without_pretexts(load_model(self.init.path))
        apply_speed_settings(model, self.speed)
        return model

    @rank_zero_only
    def _describe(self, trainer: Trainer, data: UniSegDataModule, initialized: InitializedModel, commit: str) -> None:
        """Log and write what the run is."""
        for line in [*describe_run(trainer, data.tasks, data.splits, commit), *initialized.lines()]:
            rank_zero_info(line)
        report = initialized.report
        if self.folder is not None:
            report.write(self.folder.transfer_report)
            write_text(self.folder.config, yaml.safe_dump(dict(self.description.settings), sort_keys=False))
        counts = {"trained": report.trained, "total": report.total}
        log_run(trainer.loggers, dict(self.description.settings), counts, data.splits)
