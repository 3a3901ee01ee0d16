"""nnU-Net's ``nnUNet_results``: what was trained there, fold by fold, as networks of ours."""

import io
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uniseg.errors import InputError
from uniseg.files import read_json
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.foreign.nnunet import EXPECTED, axis_order, network_of
from uniseg.weights.pickled import read_foreign
from uniseg.weights.reading import reading

REGIONS = "regions: predicted as the likeliest label value; nnU-Net's thresholds in regions_class_order are not read"
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
LARGEST_COMPONENT = "remove_all_but_largest_component_from_segmentation"
CROSS_VALIDATION = "crossval_results_folds_*"
# Of nnU-Net's readers, those that turn a scan.
ORIENTATIONS = {"NibabelIOWithReorient": "RAS"}
FIX = "give the folder as nnU-Net wrote it"


@dataclass(frozen=True)
class TrainedConfiguration:
    """One ``<trainer>__<plans>__<configuration>`` of a dataset.

    Examples:
        >>> folder = Path("Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres")
        >>> each = TrainedConfiguration(folder)
        >>> each.name, each.dataset, each.configuration
        ('Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres', 'Dataset004_Hippocampus', '3d_fullres')
    """

    folder: Path

    @property
    def dataset(self) -> str:
        return self.folder.parent.name

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.folder.name}"

    @property
    def configuration(self) -> str:
        return self.folder.name.split("__")[-1]

    def folds(self) -> list[Path]:
        """``fold_<k>`` in the order of their numbers, ``fold_all`` last."""
        found = [path for path in self.folder.glob("fold_*") if re.fullmatch(r"fold_(\d+|all)", path.name)]
        return sorted(found, key=lambda path: (path.name == "fold_all", len(path.name), path.name))


@dataclass(frozen=True)
class ImportedFold:
    """The network of one fold.

    Attributes:
        name: ``fold_0``.
        checkpoint: file name of what was read.
        mirror_axes: (z, y, x) of the file, that nnU-Net mirrors at prediction.
        orientation: in which nnU-Net's reader hands a scan to it: file, or RAS.

    Examples:
        >>> ImportedFold("fold_0", "checkpoint_final.pth", model=None, mirror_axes=(0, 1, 2)).name
        'fold_0'
    """

    name: str
    checkpoint: str
    model: UniSegModel
    mirror_axes: tuple[int, ...]
    orientation: str = "file"


@dataclass(frozen=True)
class ImportedConfiguration:
    """The folds of one configuration that can be taken, and what is said of the rest.

    Attributes:
        largest: sets of classes of which all but the largest component become background, in nnU-Net's order; a set of
            several classes counts as one.
        notes: one line each.

    Examples:
        >>> ImportedConfiguration(TrainedConfiguration(Path("a/b__c__d")), []).folds
        []
    """

    source: TrainedConfiguration
    folds: Sequence[ImportedFold]
    largest: Sequence[tuple[str, ...]] = ()
    notes: Sequence[str] = field(default_factory=list)


def find_configurations(results: str | Path) -> list[TrainedConfiguration]:
    """Below ``nnUNet_results``, one dataset of it, or one configuration.

    Raises:
        InputError: there is none.
    """
    results = Path(results).absolute()
    candidates = [results, *results.glob("*__*__*"), *results.glob("*/*__*__*")]
    found = [path for path in candidates if path.name.count("__") >= 2 and path.is_dir()]
    if not found:
        expected = "Dataset<number>_<name>/<trainer>__<plans>__<configuration>"
        raise InputError(results, "no trained configuration", expected, "give nnUNet_results")
    return [TrainedConfiguration(path) for path in sorted(found)]


def import_configuration(source: TrainedConfiguration, checkpoint: str = CHECKPOINTS[0]) -> ImportedConfiguration:
    """Every fold whose network is one of ours.

    Args:
        checkpoint: the file of a fold that is read; where a fold lacks it, the other one.

    Raises:
        InputError: no fold can be taken; says why the first cannot.
    """
    folds: list[ImportedFold] = []
    notes: list[str] = []
    refused: list[InputError] = []
    for folder in source.folds():
        path = next((p for name in (checkpoint, *CHECKPOINTS) if (p := folder / name).is_file()), None)
        if path is None:
            notes.append(f"{folder.name}: not taken: no {' or '.join(CHECKPOINTS)}, so its training has not ended")
            continue
        if path.name != checkpoint:
            notes.append(f"{folder.name}: {path.name}, since there is no {checkpoint}")
        try:
            folds.append(_import_fold(source, path))
        except InputError as error:
            refused.append(error)
            notes.append(f"{folder.name}: not taken: found {error.found}; expected {error.expected}")
    if not folds:
        raise refused[0] if refused else InputError(source.folder, "no fold", "fold_<k> with a checkpoint", FIX)
    try:
        largest, note = read_postprocessing(source, folds[0].model)
    except InputError as error:
        largest, note = [], f"no postprocessing: {error}"
    if folds[0].model.tasks[0].regions:
        notes.append(REGIONS)
    return ImportedConfiguration(source, folds, largest, [*notes, *([note] if note else [])])


def _import_fold(source: TrainedConfiguration, path: Path) -> ImportedFold:
    """With the plans and labels of the configuration's own files where they are, as nnU-Net's predictor does."""
    content = read_foreign(path, EXPECTED)
    with reading(path, EXPECTED, FIX):
        given = dict(content["init_args"])
        for key, name in (("plans", "plans.json"), ("dataset_json", "dataset.json")):
            if (source.folder / name).is_file():
                given[key] = read_json(source.folder / name, f"nnU-Net's {name}", FIX)
        model = network_of({**content, "init_args": given}, path)
        axes = content.get("inference_allowed_mirroring_axes") or ()
        order = axis_order(given["plans"])
        mirror_axes = tuple(sorted(order[axis] for axis in axes))
        orientation = ORIENTATIONS.get(given["plans"].get("image_reader_writer"), "file")
        return ImportedFold(path.parent.name, path.name, model, mirror_axes, orientation)


def read_postprocessing(source: TrainedConfiguration, model: UniSegModel) -> tuple[list[tuple[str, ...]], str]:
    """What nnU-Net's cross-validation chose, as ``ImportedConfiguration.largest``, and a note.

    ``postprocessing.json``, or else its pickle, of which the name of one function and plain values are read and
    nothing is run.

    Raises:
        InputError: another function, or another content.
    """
    folders = sorted(source.folder.glob(CROSS_VALIDATION), key=lambda path: -len(path.name))
    files = [folder / f"postprocessing.{ending}" for folder in folders for ending in ("json", "pkl")]
    path = next((each for each in files if each.is_file()), None)
    if path is None:
        return [], ""
    with reading(path, "nnU-Net's postprocessing", "run nnUNetv2_determine_postprocessing again"):
        names, arguments = _steps_of_json(path) if path.suffix == ".json" else _steps_of_pickle(path)
        other = [name for name in names if name != LARGEST_COMPONENT]
        if other or len(names) != len(arguments):
            expected = f"'{LARGEST_COMPONENT}' alone"
            raise InputError(
                path, f"steps {names!r:.100}", expected, "give its label maps to nnUNetv2_apply_postprocessing"
            )
        (task,) = model.tasks
        by_value = dict(zip(task.class_values, task.classes[1:], strict=True))
        return [
            _classes(each["labels_or_regions"], by_value) for each in arguments
        ], f"postprocessing of {path.parent.name}"


def _steps_of_json(path: Path) -> tuple[list[str], list[Mapping]]:
    content = read_json(path, "nnU-Net's postprocessing", FIX)
    return content["postprocessing_fns"], content["postprocessing_kwargs"]


def _steps_of_pickle(path: Path) -> tuple[list[str], list[Mapping]]:
    functions, arguments = _NamesOnly(io.BytesIO(path.read_bytes())).load()
    return list(functions), list(arguments)


class _NamesOnly(pickle.Unpickler):
    """Gives the name of nnU-Net's function in place of the function, refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        if name != LARGEST_COMPONENT:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not run")
        return name

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside")


def _classes(values: object, by_value: Mapping[tuple[int, ...], str]) -> tuple[str, ...]:
    """Of one label, one region, or all labels together."""
    listed = [values] if isinstance(values, int) else list(values)  # type: ignore[call-overload]
    flat = tuple(sorted({int(v) for each in listed for v in ([each] if isinstance(each, int) else each)}))
    region = next((name for key, name in by_value.items() if tuple(sorted(key)) == flat), None)
    return (region,) if region is not None else tuple(by_value[(value,)] for value in flat)
