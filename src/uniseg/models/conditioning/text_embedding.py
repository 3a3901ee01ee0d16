"""The CLIP-driven model's conditioning: the task as the embedding of a sentence (Liu et al., ICCV 2023)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.files import read_json
from uniseg.models.conditioning.base import Conditioning, ConditioningOutput
from uniseg.task import TaskSet

MAKE = "make the vectors again: experiments/text_vectors/README.md"


class TextEmbedding(Conditioning):
    """Leaves the features alone; a dynamic head reads the task code ``[B,D]``, a fixed vector per task.

    Args:
        vectors: task name -> D numbers, from a text model; scaled to a mean square of 1. None: zeros, for weights to be
            loaded.
        num_channels: D; None: as long as the vectors. A saved model carries the number.

    Raises:
        InputError: a task has no vector, or one of another length than the first.

    Examples:
        >>> from uniseg.task import Normalization, Task, TaskSet
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> settings = {"channels": 8, "tasks": TaskSet([liver]), "size": (2, 2, 2), "num_channels": None}
        >>> TextEmbedding(vectors={"liver": [3.0, 4.0]}, **settings).task_code_channels
        2
    """

    writes_task_code = True
    changes_features = False

    embeddings: Tensor

    def __init__(
        self,
        *,
        channels: int,
        tasks: TaskSet,
        size: Sequence[int],
        vectors: Mapping[str, Sequence[float]] | None,
        num_channels: int | None,
    ) -> None:
        super().__init__()
        self.out_channels = channels
        if vectors is None:
            embeddings = torch.zeros(len(tasks), num_channels or 0)
        else:
            rows = [_vector(vectors, name) for name in tasks.names]
            for name, row in zip(tasks.names, rows, strict=True):
                if len(row) != len(rows[0]):
                    raise InputError(
                        f"task '{name}'",
                        f"a text vector of {len(row)} numbers",
                        f"{len(rows[0])}, as '{tasks.names[0]}' has",
                        MAKE,
                    )
            embeddings = torch.tensor(rows, dtype=torch.float32)
            embeddings = embeddings / embeddings.square().mean(1, keepdim=True).sqrt()
        self.task_code_channels = embeddings.shape[1]
        self.register_buffer("embeddings", embeddings)

    def settings(self) -> dict:
        return {"vectors": None, "num_channels": self.task_code_channels}

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        features = bottleneck.expand(task.shape[0], -1, -1, -1, -1)
        return ConditioningOutput(features, self.embeddings[task].to(features.dtype), features[:, :0])


def _vector(vectors: Mapping[str, Sequence[float]], name: str) -> Sequence[float]:
    if name not in vectors:
        raise InputError(f"task '{name}'", "no text vector", "one for every task", MAKE)
    return vectors[name]


def read_vectors(path: str) -> dict[str, list[float]]:
    """The vectors of tasks by name, from ``conf/text_vectors/<path>`` or, with folders in front, from where it says.

    Raises:
        InputError: missing, or without vectors of numbers.
    """
    file = Path(path) if Path(path).parent != Path() else CONF_DIR / "text_vectors" / path
    expected, fix = "JSON with a key 'vectors': task name -> numbers", "make it: experiments/text_vectors/README.md"
    content = read_json(file, expected, fix)
    try:
        return {name: [float(value) for value in vector] for name, vector in content["vectors"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(file, f"{type(error).__name__} ({' '.join(str(error).split())})", expected, fix) from error
