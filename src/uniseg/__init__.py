"""uniseg: one prompt-driven 3D network for many segmentation tasks."""

from uniseg.errors import InputError
from uniseg.inference.predictor import Predictor
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.shared import save_model
from uniseg.weights.task_file import load_tasks, save_task

__all__ = ["InputError", "Normalization", "Predictor", "Task", "TaskSet", "UniSegModel", "load_model", "load_tasks", "save_model", "save_task"]
