"""Scans in files -> label maps of the answers that the guard lets through, with a record; what is finished stays."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from uniseg.adaptation.candidates import NONE, Answer, ScanAnswers
from uniseg.adaptation.guard import Verdict, judge, judge_site
from uniseg.adaptation.record import EVIDENCE, AdaptationRecord, describe_answers
from uniseg.adaptation.settings import NORMS, SITE, AdaptSettings
from uniseg.adaptation.site import adapt_to_site
from uniseg.adaptation.training_ranges import known_statistics
from uniseg.datasets.case import Case
from uniseg.datasets.inputs import Given
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.inference.case_reader import CaseJob, CaseReader, Images
from uniseg.inference.case_runner import Outcome
from uniseg.inference.case_writer import CaseSegmentations, CaseWriter
from uniseg.inference.outputs import OutputLayout
from uniseg.inference.predict_files import AUTO, find_pairs
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import CANONICAL
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.folder import save_model
from uniseg.weights.hashing import state_hash
from uniseg.weights.site_file import save_site

SITE_FILE, REJECTED, MODEL = "site.safetensors", "site_rejected.safetensors", "model"
ADAPTED = "adapted.json"  # in the folder of an adapted network: why the guard let it through


@dataclass(frozen=True)
class AdaptedLayout(OutputLayout):
    """As predictions, with the settings of the adaptation in the JSON beside them.

    Examples:
        >>> AdaptedLayout(Path("out"), adaptation={"mode": "scan"}).record
        {'adaptation': {'mode': 'scan'}}
    """

    adaptation: dict | None = None

    @property
    def record(self) -> dict:
        return super().record | {"adaptation": self.adaptation}


def adapt_files(
    predictor: Predictor,
    given: Given,
    output: str | os.PathLike,
    settings: AdaptSettings = AdaptSettings(),
    *,
    tasks: str | Sequence[str] = AUTO,
    modality: Sequence[str] | None = None,
    series: str | None = None,
    reference: str | os.PathLike | None = None,
    console: Console | None = None,
) -> tuple[list[Outcome], AdaptationRecord]:
    """What became of every scan, and the record that lies in ``output`` too.

    A progress bar goes to ``console``. Scans that an earlier call with the same scans, weights and settings finished
    are kept; a site's rounds resume where they were.

    Args:
        predictor: of the base: one network.
        given, tasks, modality, series: as of ``predict_cases``.
        reference: folder of the prepared tasks that the base was trained from, for one whose file does not say what
            they were like.
        console: None: standard error.

    Raises:
        InputError: as of ``predict_cases``; an ensemble, or another orientation than the canonical one.
    """
    if len(predictor.models) > 1:
        found = f"{len(predictor.models)} networks"
        raise InputError("checkpoint", found, "one to adapt", "give one of them")
    if predictor.settings.orientation != CANONICAL:
        found = f"'{predictor.settings.orientation}'"
        raise InputError("inference.orientation", found, f"{CANONICAL}, in which scans are adapted to", "leave it out")
    console = console or Console(stderr=True, soft_wrap=True)
    log = partial(console.print, markup=False, highlight=False)
    statistics = known_statistics(predictor.model, None if reference is None else Path(reference))
    pairs = find_pairs(predictor, given, tasks, modality, series, log)
    if not statistics:
        log("the base's file does not say what its training cases were like: the guard keeps the base")
        log("(give reference=<the folder of the prepared tasks that it was trained from>)")
    record = AdaptationRecord(predictor.checkpoint_hash, settings)
    adaptation = asdict(settings) | {"known": sorted(statistics)}
    with Progress(console=console) as progress:
        site = None
        if settings.mode == SITE:
            adapted = adapt_to_site(predictor, pairs, Path(output), settings, log, partial(_bar, progress))
            record.losses, site = adapted.losses, adapted.model
            adaptation["site"] = state_hash(site.state_dict())
        reader = CaseReader(predictor, AdaptedLayout(Path(output), adaptation=adaptation), log)
        reader.layout.require_free((case, images or predictor.tasks.names) for case, images in pairs)
        answers = ScanAnswers(predictor, settings, statistics, site)
        with _bar(progress, "scans", len(pairs) * answers.num_steps) as advance:
            outcomes = [_adapt_case(answers, reader, case, images, record, advance) for case, images in pairs]
    if site is not None:
        record.site = {name: judge_site(record.verdicts(name), settings) for name in record.counts}
        _write_site(predictor, site, record, Path(output))
    record.write(Path(output))
    return outcomes, record


def judge_answers(answers: dict[str, Answer], name: str, scans: ScanAnswers) -> dict[str, Verdict]:
    """The guard's on every candidate but the base."""
    ranges = scans.statistics[name].ranges if name in scans.statistics else None
    base = answers[NONE].evidence
    return {
        candidate: judge(base, answer.evidence, ranges, scans.settings)
        for candidate, answer in answers.items()
        if candidate != NONE
    }


def _adapt_case(
    scans: ScanAnswers,
    reader: CaseReader,
    case: Case,
    images: Images | None,
    record: AdaptationRecord,
    advance: Callable[..., None],
) -> Outcome:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        advance()

    try:
        job = reader.read_case(case, images)
        job = _answer_case(scans, reader, job, step)
        paths = {name: reader.layout.label_path(name, case.case_id) for name in job.images}
        record.read_case(case.case_id, paths)
        outcome = Outcome(case.case_id, tuple(paths.values()))
    except InputError as error:
        record.refused[case.case_id] = str(error)
        outcome = Outcome(case.case_id, (), error)
    advance(max(0, scans.num_steps - done))
    record.write(reader.layout.folder)
    return outcome


def _answer_case(scans: ScanAnswers, reader: CaseReader, job: CaseJob, advance: Callable[[], None]) -> CaseJob:
    """Adapts to the scans of a case that are not finished, and writes the answers."""
    method, records = scans.settings.method, dict(job.records)
    segmentations, voxel_ml = {}, {}
    for scan, names in job.scans.items():
        volume = job.volumes.pop(scan)
        for name, answers in scans.of(volume, names, advance).items():
            verdicts = judge_answers(answers, name, scans)
            segmentations[name] = answers[method if verdicts[method].use else NONE].segmentation
            records[name] = records[name] | {EVIDENCE: describe_answers(answers, verdicts, method)}
            voxel_ml[name] = volume.voxel_ml
    job = replace(job, records=records)
    CaseWriter(scans.predictor, reader.layout).write(job, CaseSegmentations(segmentations, voxel_ml))
    return job


def _write_site(predictor: Predictor, site: UniSegModel, record: AdaptationRecord, folder: Path) -> None:
    """The file for the tasks that the guard let through; else, under a name that says so, for all."""
    used = [name for name, verdict in record.site.items() if verdict.use]
    evidence = {name: {"verdict": each.word, "reason": each.reason} for name, each in record.site.items()}
    for name in (SITE_FILE, REJECTED):
        (folder / name).unlink(missing_ok=True)
    if (folder / MODEL / ADAPTED).is_file():  # of an earlier call, with other scans or settings
        shutil.rmtree(folder / MODEL)
    if record.settings.trained == NORMS:
        tasks = used or list(record.site) or list(predictor.tasks.names)
        save_site(predictor.model, site, tasks, folder / (SITE_FILE if used else REJECTED), evidence)
    elif used:
        save_model(site, folder / MODEL)
        write_json(folder / MODEL / ADAPTED, evidence)


def _bar(progress: Progress, title: str, total: int) -> AbstractContextManager[Callable[..., None]]:
    bar = progress.add_task(title, total=total)
    return nullcontext(lambda number=1: progress.advance(bar, number))
