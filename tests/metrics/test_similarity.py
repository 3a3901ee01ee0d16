"""Cosine by hand, clusters of a block matrix."""

import numpy as np
import torch

from uniseg.metrics.similarity import cluster, cosine_matrix, leaf_order


def test_cosine_by_hand():
    maps = torch.tensor([[1.0, 2, 3], [13, 12, 11], [1, 2, 1], [0, 0, 3], [5, 5, 5]]).reshape(5, 1, 3)
    cosine = cosine_matrix(maps)
    assert torch.allclose(cosine[0], torch.tensor([1, -1, 0, 3**0.5 / 2, 0]), atol=1e-6)
    assert torch.allclose(cosine, cosine.T)
    assert torch.allclose(cosine_matrix(maps + 7), cosine, atol=1e-6)


def test_blocks_lie_together():
    group = np.array([0, 1, 0, 1, 0])
    cosine = np.where(group[:, None] == group, 0.9, 0.1)
    np.fill_diagonal(cosine, 1)
    links = cluster(cosine)
    assert sorted(np.flatnonzero(np.diff(group[leaf_order(links)])).tolist()) in ([1], [2])
    np.testing.assert_allclose(links[:, 2], [0.1, 0.1, 0.1, 0.9])


def test_one_task_has_no_tree():
    assert leaf_order(cluster(np.ones((1, 1)))) == [0]
