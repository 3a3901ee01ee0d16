"""uniseg: one prompt-driven 3D network for many segmentation tasks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uniseg.errors import InputError as InputError
    from uniseg.evaluation.score_maps import score as score
    from uniseg.images.files import read_volume as read_volume
    from uniseg.images.files import write_label_map as write_label_map
    from uniseg.images.volume import Volume as Volume
    from uniseg.inference.predict_files import predict_files as predict_files
    from uniseg.inference.predictor import Predictor as Predictor
    from uniseg.inference.settings import InferenceSettings as InferenceSettings
    from uniseg.model import UniSegModel as UniSegModel
    from uniseg.model import load_model as load_model
    from uniseg.sampling.augment.recipe import AugmentRecipe as AugmentRecipe
    from uniseg.sampling.datamodule import UniSegDataModule as UniSegDataModule
    from uniseg.sampling.settings import StreamSettings as StreamSettings
    from uniseg.task import Normalization as Normalization
    from uniseg.task import Task as Task
    from uniseg.task import TaskSet as TaskSet
    from uniseg.training.fit import fit as fit
    from uniseg.training.modules import DownstreamModule as DownstreamModule
    from uniseg.training.modules import UpstreamModule as UpstreamModule
    from uniseg.weights.ensemble import load_ensemble as load_ensemble
    from uniseg.weights.ensemble import save_ensemble as save_ensemble
    from uniseg.weights.folder import save_model as save_model
    from uniseg.weights.foreign.nnunet import import_nnunet as import_nnunet
    from uniseg.weights.foreign.published import import_published as import_published
    from uniseg.weights.task_file import load_tasks as load_tasks
    from uniseg.weights.task_file import save_task as save_task

    __version__: str

# Imported where first used, so that ``import uniseg`` takes milliseconds.
_MODULES = {
    "AugmentRecipe": "sampling.augment.recipe",
    "DownstreamModule": "training.modules",
    "InferenceSettings": "inference.settings",
    "InputError": "errors",
    "Normalization": "task",
    "Predictor": "inference.predictor",
    "StreamSettings": "sampling.settings",
    "Task": "task",
    "TaskSet": "task",
    "UniSegDataModule": "sampling.datamodule",
    "UniSegModel": "model",
    "UpstreamModule": "training.modules",
    "Volume": "images.volume",
    "fit": "training.fit",
    "import_nnunet": "weights.foreign.nnunet",
    "import_published": "weights.foreign.published",
    "load_ensemble": "weights.ensemble",
    "load_model": "model",
    "load_tasks": "weights.task_file",
    "predict_files": "inference.predict_files",
    "read_volume": "images.files",
    "save_ensemble": "weights.ensemble",
    "save_model": "weights.folder",
    "save_task": "weights.task_file",
    "score": "evaluation.score_maps",
    "write_label_map": "images.files",
}
__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = import_module("uniseg.environment").uniseg_version()
    elif name in _MODULES:
        value = getattr(import_module(f"uniseg.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'uniseg' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
