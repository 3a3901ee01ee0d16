"""The answers that are held against each other for one scan: the base's, the controls', the adapted network's."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from uniseg.adaptation.guard import Evidence
from uniseg.adaptation.methods import adapt_by_entropy, adapt_to_views
from uniseg.adaptation.patches import ScanInput, draw_patches
from uniseg.adaptation.settings import CONSISTENCY, HISTOGRAM, TENT, AdaptSettings
from uniseg.adaptation.views import AT_ONCE, Patch, consistency, draw_views
from uniseg.images.volume import Volume
from uniseg.inference.predictor import Predictor
from uniseg.inference.restore import CompressedSegmentation, OutputOptions
from uniseg.inference.task_group import group_tasks, prepare_group, segment_group
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.histogram import match_histogram
from uniseg.preprocessing.preprocess import preprocess_on
from uniseg.preprocessing.task_statistics import TaskStatistics, measure_label
from uniseg.task import Task

NONE = "none"
CANDIDATES = (NONE, HISTOGRAM, TENT, CONSISTENCY)
CHECKS = 4  # patches of a task, with two views each, on which agreement between views is measured


@dataclass(frozen=True)
class Candidate:
    """What is asked for an answer.

    Attributes:
        images: in place of the scan's own, per group of tasks; None: those.

    Examples:
        >>> Candidate("none", model, None).images is None  # doctest: +SKIP
        True
    """

    name: str
    model: UniSegModel
    images: Sequence[torch.Tensor] | None = None


@dataclass(frozen=True)
class Answer:
    """Of a candidate for a task.

    Examples:
        >>> answer = answers["liver"]["none"]  # doctest: +SKIP
        >>> answer.evidence.agreement  # doctest: +SKIP
        1.0
    """

    segmentation: CompressedSegmentation
    evidence: Evidence


class ScanAnswers:
    """Adapts to one scan, and answers for its tasks by every candidate.

    Args:
        predictor: of the base, one network.
        statistics: of the training cases, by task, where they are known.
        site: network that a site's scans have adapted already; None: the scan adapts one of its own.

    Examples:
        >>> answers = ScanAnswers(predictor, AdaptSettings(), {}).of(volume, ["liver"])  # doctest: +SKIP
        >>> sorted(answers["liver"])  # doctest: +SKIP
        ['consistency', 'histogram', 'none', 'tent']
    """

    def __init__(
        self,
        predictor: Predictor,
        settings: AdaptSettings,
        statistics: Mapping[str, TaskStatistics],
        site: UniSegModel | None = None,
    ) -> None:
        self.predictor, self.settings, self.statistics, self.site = predictor, settings, statistics, site
        self.model = predictor.model

    @property
    def num_steps(self) -> int:
        """Calls of ``advance`` for one scan."""
        return (2 if self.site is None else 1) * self.settings.rounds + len(CANDIDATES)

    def of(
        self,
        volume: Volume,
        task_names: Sequence[str],
        advance: Callable[[], None] = lambda: None,
        candidates: Collection[str] = CANDIDATES,
    ) -> dict[str, dict[str, Answer]]:
        """Task -> candidate -> answer; a scan whose tasks have no statistics keeps its histogram.

        Args:
            advance: called after every round and candidate.
            candidates: of ``CANDIDATES``, the base among them.

        Raises:
            InputError: as of ``Predictor.segment``.
        """
        groups = group_tasks(self.model, task_names, volume)
        inputs = [self._input(volume, group) for group in groups]
        answers: dict[str, dict[str, Answer]] = {name: {} for name in task_names}
        for candidate in self._candidates(inputs, candidates, advance):
            for number, each in enumerate(inputs):
                image = each.image if candidate.images is None else candidate.images[number]
                segmentations = self._segment(candidate.model, volume, replace(each, image=image))
                for name, segmentation in segmentations.items():
                    base = answers[name].get(NONE)
                    evidence = self._evidence(candidate.model, image, name, segmentation, base, volume.voxel_ml)
                    answers[name][candidate.name] = Answer(segmentation, evidence)
            advance()
        return answers

    def rounds(self, inputs: Sequence[ScanInput]) -> list[list[Patch]]:
        """The patches of every round."""
        rng = np.random.default_rng([self.settings.seed, 0])
        number, size = self.settings.patches_per_round, self.model.patch_size
        return [draw_patches(inputs, number, size, rng) for _ in range(self.settings.rounds)]

    def _input(self, volume: Volume, group: Sequence[int]) -> ScanInput:
        image = preprocess_on(volume, self.model.tasks[group[0]], self.predictor.device)
        return ScanInput(image, tuple(group))

    def _candidates(
        self, inputs: Sequence[ScanInput], names: Collection[str], advance: Callable[[], None]
    ) -> Iterator[Candidate]:
        if NONE in names:
            yield Candidate(NONE, self.model)
        if HISTOGRAM in names:
            yield Candidate(HISTOGRAM, self.model, [self._matched(each) for each in inputs])
        rounds = self.rounds(inputs)
        if TENT in names:
            yield Candidate(TENT, adapt_by_entropy(self.model, rounds, self.settings, advance).model)
        if CONSISTENCY in names:
            site = self.site or adapt_to_views(self.model, rounds, self.settings, advance).model
            yield Candidate(CONSISTENCY, site)

    def _matched(self, scan: ScanInput) -> torch.Tensor:
        """The image with the mean of its tasks' histograms, of those that are known."""
        names = [self.model.tasks[index].name for index in scan.task_indices]
        histograms = [self.statistics[name].histograms for name in names if name in self.statistics]
        if not histograms:
            return scan.image
        matched = []
        for channel, references in zip(scan.image.cpu().numpy(), zip(*histograms, strict=True), strict=True):
            known = [knots for knots in references if knots]
            matched.append(match_histogram(channel, np.mean(known, 0)) if known else channel)
        return torch.from_numpy(np.stack(matched)).to(scan.image.device)

    @torch.inference_mode()
    def _segment(self, model: UniSegModel, volume: Volume, scan: ScanInput) -> Mapping[str, CompressedSegmentation]:
        predictor = self.predictor
        how = (predictor.settings, predictor.compute)
        prepared = prepare_group([model], scan.task_indices, volume, *how, OutputOptions())
        prepared = replace(prepared, image=scan.image)
        return segment_group([model], prepared, *how, predictor.stopwatch, copy.copy(predictor.sizes))

    def _evidence(
        self,
        model: UniSegModel,
        image: torch.Tensor,
        name: str,
        segmentation: CompressedSegmentation,
        base: Answer | None,
        voxel_ml: float,
    ) -> Evidence:
        task_index = self.model.tasks.position(name)
        task, label = self.model.tasks[task_index], segmentation.label[:]
        agreement = 1.0 if base is None else mean_dice(label, base.segmentation.label[:], task)
        sizes = measure_label(label, task, voxel_ml)
        return Evidence(self._agreement_of_views(model, image, task_index), agreement, sizes)

    @torch.no_grad()
    def _agreement_of_views(self, model: UniSegModel, image: torch.Tensor, task_index: int) -> float:
        """On patches and views that are the same for every candidate, and of no round."""
        rng, settings = np.random.default_rng([self.settings.seed, 2]), self.settings
        patches = draw_patches([ScanInput(image, (task_index,))], CHECKS, self.model.patch_size, rng)
        pairs = [draw_views(rng, len(image), sd=settings.view_sd, gin=settings.gin) for _ in patches]
        parts = [slice(start, start + AT_ONCE) for start in range(0, CHECKS, AT_ONCE)]
        return float(torch.cat([consistency(model, patches[part], pairs[part]) for part in parts]).mean())


def mean_dice(label: np.ndarray, other: np.ndarray, task: Task) -> float:
    """Of the classes, in two maps of label values; 1 for a class that is in neither."""
    values = []
    for each in task.class_values:
        ours, theirs = np.isin(label, each), np.isin(other, each)
        total = int(ours.sum()) + int(theirs.sum())
        values.append(2 * int((ours & theirs).sum()) / total if total else 1.0)
    return float(np.mean(values))
