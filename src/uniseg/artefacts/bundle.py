"""MONAI bundles: the folder of a model with the configurations that MONAI's bundle commands read."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from uniseg.artefacts.task_network import chosen_tasks
from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.files import new_folder, read_json, write_json, write_text
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Task
from uniseg.weights.card import model_card
from uniseg.weights.ensemble import save_ensemble
from uniseg.weights.folder import save_model
from uniseg.weights.licences import strictest

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
CARD, LICENCE, WEIGHTS = "docs/README.md", "docs/license.txt", "models"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
RANGE = [-1000, 1000]  # of normalised intensities; nothing is clipped to it


def save_bundle(
    models: Sequence[UniSegModel], folder: str | Path, tasks: Iterable[str] | None = None, checkpoint: str = ""
) -> Path:
    """A bundle whose ``inference.json`` predicts scans with uniseg, the task chosen by name.

    Args:
        models: one, or an ensemble.
        tasks: names; the first is predicted where none is chosen; the weights hold all. None: in their own order.
        checkpoint: hash of the weights.

    Raises:
        InputError: an unknown task, or something else at ``folder``.
    """
    folder, model = Path(folder), models[0]
    first = model.tasks[chosen_tasks(models, tasks)[0]]
    _require_free(folder)
    with new_folder(folder) as part:
        if len(models) > 1:
            save_ensemble(models, part / WEIGHTS)
        else:
            save_model(model, part / WEIGHTS)
        write_json(part / METADATA, _metadata(model, first, checkpoint))
        write_json(part / INFERENCE, _inference(first))
        write_text(part / CARD, model_card(model))
        write_text(part / LICENCE, f"Strictest licence of the training data: {_licence(model)}.\n")
    return folder


def _licence(model: UniSegModel) -> str:
    names = {*model.tasks.names, *model.provenance.data}
    return strictest(model.provenance.data.get(name, {}).get("licence", "") for name in names)


def _inference(task: Task) -> dict:
    return {
        "bundle_root": ".",
        "task": task.name,
        "input": "scan.nii.gz",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "auto",
        "weights": f"$@bundle_root + '/{WEIGHTS}'",
        "network_def": {
            "_target_": "uniseg.artefacts.task_network.load_task_network",
            "checkpoint": "@weights",
            "task": "@task",
        },
        "settings": {"_target_": "uniseg.inference.settings.InferenceSettings", "device": "@device"},
        "predictor": {
            "_target_": "uniseg.inference.predictor.Predictor.from_pretrained",
            "path": "@weights",
            "settings": "@settings",
        },
        "label_maps": {
            "_target_": "uniseg.inference.predict_files.predict_files",
            "predictor": "@predictor",
            "given": "@input",
            "output": "@output_dir",
            "tasks": ["@task"],
        },
        "run": ["@label_maps"],
    }


def _metadata(model: UniSegModel, task: Task, checkpoint: str) -> dict:
    names = ", ".join(model.tasks.names)
    modalities = {"modality": "+".join(task.modalities), "channel_def": dict(enumerate(task.modalities))}
    image = {"num_channels": task.num_modalities} | modalities
    labels = {0: "background"}
    for name, values in zip(task.classes[1:], task.class_values, strict=True):
        labels |= {value: f"{labels[value]}, {name}" if value in labels else name for value in values}
    scores = {"num_channels": task.num_labels, "channel_def": labels}
    patch = {"type": "image", "format": "magnitude", "value_range": RANGE, "dtype": "float32", "is_patch_data": True}
    window = patch | {"spatial_shape": list(model.patch_size)}
    return {
        "schema": SCHEMA,
        "version": uniseg_version(),
        "changelog": {uniseg_version(): f"exported from the weights {checkpoint}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"uniseg": uniseg_version(), "nibabel": version("nibabel")},
        "name": f"uniseg: {names}",
        "task": f"Segmentation of {names}",
        "description": f"One network of {len(model.tasks)} tasks; --task <name> chooses one.",
        "authors": "those who trained it; see docs/README.md",
        "copyright": f"Training data: {_licence(model)}",
        "data_source": "see docs/README.md",
        "data_type": "nifti",
        "intended_use": "Research use only: not a medical device.",
        "references": list(model.provenance.cited),
        "network_data_format": {
            "inputs": {"image": window | image},
            "outputs": {"pred": window | {"format": "segmentation"} | scores},
        },
    }


def _require_free(folder: Path) -> None:
    """An earlier bundle may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    expected, fix = "a new folder, or an earlier bundle", "choose another output"
    if not (folder / METADATA).is_file():
        raise InputError(folder, "something else", expected, fix)
    packages = read_json(folder / METADATA, expected, fix).get("required_packages_version", {})
    others = [path.name for path in folder.iterdir() if path.name not in ("configs", "docs", "eval", WEIGHTS)]
    if "uniseg" not in packages or others or (folder / "eval").exists():
        raise InputError(folder, "a bundle of something else, or with predictions in it", expected, fix)
