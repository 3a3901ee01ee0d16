"""Files of prompts: written whole, read with one line where they are damaged or another's."""

import contextlib
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from uniseg import InputError
from uniseg.evaluation.prompt_files import PromptEvolution, PromptMap, PromptSimilarity
from uniseg.evaluation.prompts import cosine_matrix

TASKS = np.array(["liver", "spleen"])
SIMILARITY = PromptSimilarity(TASKS, np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.array(3))
EVOLUTION = PromptEvolution.empty(TASKS.tolist()).append(0, 4, np.eye(2))
WORDS = [np.array(word) for word in ("liver", "a", "CT")]
MAP = PromptMap(TASKS, *WORDS, np.ones(3), np.ones((2, 3, 4), np.float32), np.ones((2, 2, 3, 4), np.float16))


@pytest.mark.parametrize("kept", [SIMILARITY, EVOLUTION, MAP, replace(SIMILARITY, universal=np.zeros(0))])
def test_what_is_saved_is_loaded(tmp_path, kept):
    kept.save(tmp_path / "p.npz")
    loaded = type(kept).load(tmp_path / "p.npz")
    for name, array in vars(kept).items():
        np.testing.assert_array_equal(getattr(loaded, name), array)
    assert type(kept).load(tmp_path / "q.npz") is None


@pytest.mark.parametrize(
    "odd",
    [
        replace(SIMILARITY, cosine=np.eye(3)),
        replace(SIMILARITY, cosine=np.full((2, 2), np.nan)),
        replace(SIMILARITY, cosine=np.array([["a", "b"]] * 2)),
        replace(SIMILARITY, universal=np.ones((3, 2))),
        replace(SIMILARITY, universal=np.array(1.0)),
        replace(SIMILARITY, num_windows=np.ones(2)),
        replace(SIMILARITY, tasks=np.arange(2)),
        replace(EVOLUTION, epochs=np.zeros(3)),
        replace(EVOLUTION, cosine=np.zeros((1, 2))),
        replace(MAP, spacing_mm=np.zeros(3)),
        replace(MAP, image=np.ones((2, 3))),
        replace(MAP, maps=np.ones((3, 2, 3, 4))),
        replace(MAP, task=TASKS),
    ],
)
def test_arrays_that_do_not_belong_together(tmp_path, odd):
    odd.save(tmp_path / "p.npz")
    with pytest.raises(InputError, match=r"p\.npz: found .*; expected the arrays that uniseg writes"):
        type(odd).load(tmp_path / "p.npz")


@pytest.mark.parametrize("seed", range(18))
def test_damage_is_one_line(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "p.npz"
    MAP.save(path)
    content = bytearray(path.read_bytes())
    if seed % 3 == 0:
        content = content[: rng.integers(len(content))]
    else:
        for place in rng.integers(len(content), size=1 if seed % 3 == 1 else 20):
            content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        PromptMap.load(path)


@pytest.mark.parametrize(
    "header", [b"{'descr': '<f4', 'fortran_order': False, 'shape': (", b"{" * 5000, b"__import__('os')", b"\x00" * 40]
)
def test_headers_of_arrays(tmp_path, header):
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name in vars(SIMILARITY):
            file.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"p\.npz"):
        PromptSimilarity.load(path)


def test_cosine_by_hand():
    maps = torch.tensor([[1.0, 2, 3], [13, 12, 11], [1, 2, 1], [0, 0, 3], [5, 5, 5]]).reshape(5, 1, 3)
    cosine = cosine_matrix(maps)
    assert torch.allclose(cosine[0], torch.tensor([1, -1, 0, 3**0.5 / 2, 0]), atol=1e-6)
    assert torch.allclose(cosine, cosine.T)
    assert torch.allclose(cosine_matrix(maps + 7), cosine, atol=1e-6)
