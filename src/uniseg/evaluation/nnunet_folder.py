"""Imported networks of nnU-Net as folders of ours: an ensemble, its postprocessing, a record with the agreement."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from uniseg.errors import InputError
from uniseg.evaluation.nnunet_agreement import (
    Agreement,
    compare,
    like_nnunet,
    nnunet_interpreter,
    predict_with_nnunet,
)
from uniseg.files import read_json, write_json
from uniseg.inference.postprocessing import ALL_CLASSES, Choice, ClassPostprocessing, write_postprocessing
from uniseg.inference.settings import FILE
from uniseg.weights.ensemble import ensemble_hash, load_ensemble, save_ensemble
from uniseg.weights.foreign.nnunet_results import ImportedConfiguration, TrainedConfiguration

RECORD = "nnunet.json"
POSTPROCESSING = "postprocessing.json"
KIND = "nnU-Net imported by uniseg"


def write_folder(imported: ImportedConfiguration, folder: Path) -> None:
    """The ensemble, nnU-Net's postprocessing where it chose any, and the record, which comes last."""
    names = [fold.name for fold in imported.folds]
    if not folder.exists():
        save_ensemble([fold.model for fold in imported.folds], folder, names)
    (task,) = imported.folds[0].model.tasks
    if imported.largest:
        unmeasured = float("nan")
        choices = [
            Choice(task.name, name, ClassPostprocessing(largest=True), unmeasured, unmeasured, 0)
            for classes in imported.largest
            for name in ([ALL_CLASSES] if len(classes) > 1 else classes)
        ]
        write_postprocessing(choices, ensemble_hash(folder), folder / POSTPROCESSING)
    record = {
        "kind": KIND,
        "source": str(imported.source.folder),
        "task": task.name,
        "folds": {fold.name: {"checkpoint": fold.checkpoint} for fold in imported.folds},
        "mirror_axes": list(imported.folds[0].mirror_axes),
        "orientation": imported.folds[0].orientation,
        "predict": predict_command(folder, imported),
        "notes": list(imported.notes),
    }
    write_json(folder / RECORD, record)


def predict_command(folder: Path, imported: ImportedConfiguration) -> str:
    """What predicts as nnU-Net did."""
    fold = imported.folds[0]
    words = ["uniseg", "predict", f"checkpoint={folder}", "inference=nnunet"]
    if fold.mirror_axes != (0, 1, 2):
        words.append(f"inference.mirror_axes=[{','.join(map(str, fold.mirror_axes))}]")
    if fold.orientation != FILE:
        words.append(f"inference.orientation={fold.orientation}")
    if imported.largest:
        words.append(f"postprocessing={folder / POSTPROCESSING}")
    return " ".join(map(shlex.quote, words)) + " input=... output=..."


def find_images(given: str | Sequence[str] | None, source: TrainedConfiguration) -> list[Path]:
    """One case: the files given, or the first one of the dataset's ``imagesTr`` where ``nnUNet_raw`` is given.

    Raises:
        InputError: a file is not there.
    """
    paths = [Path(path) for path in ([given] if isinstance(given, str) else given or ())]
    if len(paths) == 1 and paths[0].is_dir():
        files = sorted((paths[0] / source.dataset / "imagesTr").glob("*_0000.*"))
        start = files[0].name.partition("_0000.")[0] if files else ""
        return sorted(files[0].parent.glob(f"{start}_[0-9][0-9][0-9][0-9].*")) if files else []
    for path in paths:
        if not path.exists():
            raise InputError(path, "no such file", "an image, or nnUNet_raw", "correct images=")
    return paths


def describe(source: TrainedConfiguration, folder: Path, images: list[Path], python: str | None) -> Iterator[str]:
    """What is said of an imported configuration, line by line as it is known.

    Its agreement is measured and recorded where images are given.
    """
    record = read_json(folder / RECORD, "the record of an import", "import into a new output")
    yield from (*record["notes"], f"{len(record['folds'])} folds in {folder}", record["predict"])
    if not images:
        yield "no agreement measured: give images=<nnUNet_raw, or one case> and nnunet_python="
        return
    interpreter = nnunet_interpreter(python)
    if interpreter is None:
        yield "no agreement measured: nnunetv2 is not installed here; give nnunet_python="
        return
    yield f"{images[0].name} is predicted by nnU-Net and here, fold by fold"
    try:
        agreements = _measure(source, folder, record, images, interpreter)
    except InputError as error:
        yield f"no agreement measured: {error}"
        return
    for name, agreement in agreements.items():
        record["folds"][name]["agreement"] = {"images": list(map(str, images)), **asdict(agreement)}
    write_json(folder / RECORD, record)
    yield from (agreement_line(name, each) for name, each in agreements.items())


def _measure(
    source: TrainedConfiguration, folder: Path, record: dict, images: list[Path], interpreter: str
) -> dict[str, Agreement]:
    """
    Raises:
        InputError: another number of images than the network has channels; nnU-Net failed.
    """
    models = dict(zip(record["folds"], load_ensemble(folder), strict=True))
    (task,) = next(iter(models.values())).tasks
    if len(images) != task.num_modalities:
        expected = f"{task.num_modalities}, one for each channel"
        raise InputError(images[0], f"{len(images)} images", expected, "correct images=")
    ending = read_json(source.folder / "dataset.json", "nnU-Net's dataset.json", "restore it").get(
        "file_ending", ".nii.gz"
    )
    with TemporaryDirectory() as scratch:
        checkpoints = {name: fold["checkpoint"] for name, fold in record["folds"].items()}
        theirs = predict_with_nnunet(interpreter, source.folder, checkpoints, images, ending, Path(scratch))
        return compare(models, images, theirs, like_nnunet(record["mirror_axes"], record["orientation"]))


def agreement_line(name: str, agreement: Agreement) -> str:
    dice = ", ".join(f"{name} {value:.5f}" for name, value in agreement.dice.items())
    return f"{name}: Dice of both predictions {dice}; {agreement.num_different} voxels differ"
