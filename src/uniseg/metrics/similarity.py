"""How alike the maps of tasks are."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor
from torch.nn import functional as F


def cosine_matrix(maps: Tensor) -> Tensor:
    """Cosine between every two of T maps ``[T,...]``, compared place by place: ``[T,T]`` float32, 0 for a map that is
    the same everywhere.

    Each map's mean is taken off first (the cosine is then Pearson's correlation): a leaky ReLU leaves hardly anything
    below zero, and that common offset would make every two prompts look alike.
    """
    flat = maps.flatten(1).float()
    flat = F.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    return (flat @ flat.T).clamp(-1, 1)


def cluster(cosine: np.ndarray) -> np.ndarray:
    """Average linkage on 1 - cosine of ``[T,T]``: SciPy's rows ``[T-1,4]``, neighbouring leaves as alike as can be."""
    if len(cosine) < 2:
        return np.zeros((0, 4))
    distance = np.clip(1 - (cosine + cosine.T) / 2, 0, None).astype(np.float64)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance), "average", optimal_ordering=True)


def leaf_order(links: np.ndarray) -> list[int]:
    """Positions in the order of the leaves of ``cluster``."""
    return leaves_list(links).tolist() if len(links) else [0]
