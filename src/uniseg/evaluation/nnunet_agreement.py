"""How far an imported nnU-Net says what nnU-Net says: Dice between both predictions of one case, fold by fold."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import FILE, NNUNET, InferenceSettings
from uniseg.metrics.dice import dice
from uniseg.models.uniseg import UniSegModel

SCRIPT = Path(__file__).parent / "run_nnunet.py"
PACKAGE = "nnunetv2"
MOST_SECONDS = 6 * 3600
FIX = "give nnunet_python=<the interpreter of the environment in which nnU-Net predicts>"


@dataclass(frozen=True)
class Agreement:
    """Dice between the two predictions of one case by one fold: class by class, and over all voxels that differ.

    Examples:
        >>> Agreement({"liver": 1.0, "tumour": 0.9996}, 12).least
        0.9996
    """

    dice: Mapping[str, float]
    num_different: int

    @property
    def least(self) -> float:
        return min(self.dice.values())


def like_nnunet(mirror_axes: Sequence[int], orientation: str = FILE) -> InferenceSettings:
    """nnU-Net's windows, orientation and mirroring."""
    return InferenceSettings(windows=NNUNET, orientation=orientation, mirror_axes=tuple(mirror_axes))


def nnunet_interpreter(given: str | None) -> str | None:
    """The interpreter that has nnU-Net: ``given``, or else this one; None where it is not known."""
    return given or (sys.executable if find_spec(PACKAGE) is not None else None)


def compare(
    models: Mapping[str, UniSegModel], images: Sequence[Path], theirs: Mapping[str, Path], settings: InferenceSettings
) -> dict[str, Agreement]:
    """Fold -> agreement on one case.

    Args:
        models: of the folds.
        theirs: nnU-Net's label maps, of the folds.
        settings: of ``like_nnunet``.
    """
    volume = read_volume(images)
    agreements = {}
    for fold, model in models.items():
        (task,) = model.tasks
        ours = Predictor(model, settings).predict(volume, [task.name])[task.name]
        expected = read_label(theirs[fold], images)
        agreements[fold] = agreement(ours, expected, dict(zip(task.classes[1:], task.class_values, strict=True)))
    return agreements


def agreement(ours: np.ndarray, theirs: np.ndarray, classes: Mapping[str, Sequence[int]]) -> Agreement:
    """Of two label maps ``[Z,Y,X]``; a class that both lack has 1."""
    values = {}
    for name, label_values in classes.items():
        a, b = np.isin(ours, label_values), np.isin(theirs, label_values)
        hits = int((a & b).sum())
        values[name] = dice(hits, int(a.sum()) - hits, int(b.sum()) - hits)
    return Agreement(values, int((ours != theirs).sum()))


def predict_with_nnunet(
    interpreter: str, folder: Path, checkpoints: Mapping[str, str], images: Sequence[Path], ending: str, output: Path
) -> dict[str, Path]:
    """Fold -> the label map that nnU-Net wrote of one case into ``output``.

    Args:
        folder: of the trained configuration.
        checkpoints: fold -> its file, which was read safely before: nnU-Net unpickles it.
        ending: of nnU-Net's label maps, its dataset's ``file_ending``.

    Raises:
        InputError: the interpreter is not there, has no nnU-Net, or it fails.
    """
    with TemporaryDirectory() as scratch:
        job = Path(scratch, "job.json")
        paths = [str(path.absolute()) for path in images]
        write_json(job, {"folder": str(folder), "folds": dict(checkpoints), "images": paths, "output": str(output)})
        # nnU-Net warns of folders that are not set, though prediction needs none
        environment = {f"nnUNet_{name}": scratch for name in ("raw", "preprocessed", "results")} | dict(os.environ)
        try:
            done = subprocess.run(
                [interpreter, str(SCRIPT), str(job)],
                capture_output=True,
                text=True,
                timeout=MOST_SECONDS,
                env=environment,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(interpreter, f"{error}", f"a Python that imports {PACKAGE}", FIX) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise InputError(interpreter, f"exit code {done.returncode} ({last[:200]})", f"{PACKAGE}'s prediction", FIX)
    return {fold: output / f"{fold}{ending}" for fold in checkpoints}
