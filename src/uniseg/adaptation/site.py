"""One adaptation to all scans of a site; its rounds are kept, so that an interrupted one resumes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from uniseg.adaptation.methods import Adapted, ViewRounds
from uniseg.adaptation.patches import ScanInput, draw_patches
from uniseg.adaptation.settings import AdaptSettings
from uniseg.adaptation.views import Patch
from uniseg.datasets.case import Case
from uniseg.errors import InputError
from uniseg.files import MALFORMED, content_hash, write_atomically
from uniseg.images.files import read_volume
from uniseg.images.stamp import stamp
from uniseg.images.volume import Volume
from uniseg.inference.case_reader import Images
from uniseg.inference.predictor import Predictor, guess_modalities
from uniseg.inference.task_group import group_tasks
from uniseg.inference.task_selection import guessed_tasks
from uniseg.preprocessing.preprocess import preprocess_on

ROUNDS = "site_rounds.pt"
MOST_PATCHES = 256  # kept in memory, as float16; the rounds draw from them
Bar = Callable[[str, int], AbstractContextManager[Callable[..., None]]]


def adapt_to_site(
    predictor: Predictor,
    pairs: Sequence[tuple[Case, Images | None]],
    folder: Path,
    settings: AdaptSettings,
    log: Callable[[str], None],
    bar: Bar,
) -> Adapted:
    """
    Args:
        pairs: every case of the site with its files per task.
        folder: where the rounds are kept.
        log: takes a line on a scan that is left out.
        bar: a progress bar with a title and a number of steps.

    Raises:
        InputError: no scan of the site can be read.
    """
    views = ViewRounds(predictor.model, settings)
    key = _key(predictor, pairs, settings)
    _resume(views, folder / ROUNDS, key)
    if len(views.losses) < settings.rounds:
        with bar("reading", len(pairs)) as advance:
            patches = _patches(predictor, pairs, settings, log, advance)
        with bar("rounds", settings.rounds) as advance:
            advance(len(views.losses))
            for number in range(len(views.losses), settings.rounds):
                rng = np.random.default_rng([settings.seed, 3, number])
                chosen = rng.choice(len(patches), settings.patches_per_round, len(patches) < settings.patches_per_round)
                views.step([_to(patches[k], predictor.device) for k in chosen])
                with write_atomically(folder / ROUNDS) as part:
                    torch.save({"key": key, "state": views.state_dict()}, part)
                advance()
    return views.finish()


def _patches(
    predictor: Predictor,
    pairs: Sequence[tuple[Case, Images | None]],
    settings: AdaptSettings,
    log: Callable[[str], None],
    advance: Callable[..., None],
) -> list[Patch]:
    """As many of every scan; one that cannot be read is left out, and refused when its turn comes."""
    number = -(-min(MOST_PATCHES, settings.rounds * settings.patches_per_round) // len(pairs))
    patches: list[Patch] = []
    for position, (case, images) in enumerate(pairs):
        rng = np.random.default_rng([settings.seed, 4, position])
        try:
            inputs = _inputs(predictor, case, images)
        except InputError as error:
            log(f"{case.case_id} is left out: {error}")
        else:
            drawn = draw_patches(inputs, number, predictor.model.patch_size, rng)
            patches += [Patch(patch.image.half().cpu(), patch.task_index) for patch in drawn]
        advance()
    if not patches:
        raise InputError("input", "no scan that can be read", "one or more of the site", "check the scans")
    return patches


def _inputs(predictor: Predictor, case: Case, images: Images | None) -> list[ScanInput]:
    if images is None:
        volume = read_volume(list(case.image_paths))
        names = guessed_tasks(predictor.tasks, guess_modalities(volume), case.case_id)
        return _inputs_of(predictor, volume, names)
    scans: dict[tuple, list[str]] = {}
    for name, files in images.items():
        scans.setdefault((tuple(files), predictor.task(name).reference_position), []).append(name)
    return [each for scan, names in scans.items() for each in _inputs_of(predictor, read_volume(*scan), names)]


def _inputs_of(predictor: Predictor, volume: Volume, names: Sequence[str]) -> list[ScanInput]:
    groups, model = group_tasks(predictor.model, names, volume), predictor.model
    return [ScanInput(preprocess_on(volume, model.tasks[group[0]], predictor.device), tuple(group)) for group in groups]


def _key(predictor: Predictor, pairs: Sequence[tuple[Case, Images | None]], settings: AdaptSettings) -> dict[str, Any]:
    """What the rounds depend on."""
    files = [path for case, _ in pairs for path in case.files if path.exists()]
    scans = [content_hash(path) if path.is_file() else stamp(path) for path in files]
    return {"checkpoint": predictor.checkpoint_hash, "settings": asdict(settings), "scans": scans}


def _resume(views: ViewRounds, path: Path, key: dict[str, Any]) -> None:
    """Take up earlier rounds of the same scans, weights and settings."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["key"] == key:
            views.load_state_dict(content["state"])
    except FileNotFoundError:
        return
    except (*MALFORMED, OSError, EOFError, RuntimeError, KeyError, UnpicklingError):  # damaged: the rounds begin again
        path.unlink(missing_ok=True)


def _to(patch: Patch, device: torch.device) -> Patch:
    return Patch(patch.image.to(device).float(), patch.task_index)
