"""uniseg: one prompt-driven 3D network for many segmentation tasks."""

from uniseg.errors import InputError
from uniseg.images.files import read_volume
from uniseg.images.volume import Volume
from uniseg.inference.predict_files import predict_files
from uniseg.inference.predictor import Predictor
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.ensemble import load_ensemble, save_ensemble
from uniseg.weights.folder import save_model
from uniseg.weights.task_file import load_tasks, save_task

__all__ = [
    "InputError",
    "Normalization",
    "Predictor",
    "Task",
    "TaskSet",
    "UniSegModel",
    "Volume",
    "load_ensemble",
    "load_model",
    "load_tasks",
    "predict_files",
    "read_volume",
    "save_ensemble",
    "save_model",
    "save_task",
]
