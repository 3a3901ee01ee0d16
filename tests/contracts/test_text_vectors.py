"""The vectors that come along, and what is refused of others."""

import json
from itertools import combinations

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from samples import make_task
from uniseg.datasets.dataset_file import declared_tasks
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.models.conditioning.text_embedding import TextEmbedding, read_vectors
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model

FILES = sorted((CONF_DIR / "text_vectors").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_task_has_a_vector_of_its_own(path):
    vectors = read_vectors(path.name)
    files = (CONF_DIR / "task").glob("*.yaml")
    tasks = [file.stem for file in files if "kind: pretext" not in file.read_text()]
    assert set(vectors) == {*tasks, *declared_tasks(CONF_DIR)}
    assert {len(vector) for vector in vectors.values()} == {256}
    units = {name: np.array(vector) / np.linalg.norm(vector) for name, vector in vectors.items()}
    assert max(units[a] @ units[b] for a, b in combinations(units, 2)) < 0.999
    assert path.stat().st_size < 200_000


def build(vectors, *names):
    return TextEmbedding(
        channels=4, tasks=TaskSet(make_task(name) for name in names), size=(2, 2, 2), vectors=vectors, num_channels=None
    )


def test_vectors_come_in_the_order_of_the_tasks_at_one_scale():
    conditioning = build({"a": [3, 4], "b": [0, 2]}, "b", "a")
    root = 2**0.5
    np.testing.assert_allclose(conditioning.embeddings, [[0, root], [0.6 * root, 0.8 * root]], rtol=1e-6)


def test_a_vector_is_wanted_for_every_task():
    with pytest.raises(InputError, match=r"task 'b': found no text vector"):
        build({"a": [1.0]}, "a", "b")
    with pytest.raises(InputError, match=r"task 'b': found a text vector of 2 numbers; expected 1, as .a. has"):
        build({"a": [1.0], "b": [1.0, 2.0]}, "a", "b")


@pytest.mark.parametrize("text", ["", "{}", '{"vectors": 1}', '{"vectors": {"a": ["x"]}}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(InputError, match=r"v\.json"):
        read_vectors(str(tmp_path / "v.json"))


def test_a_missing_file_is_refused_where_it_is_looked_for():
    with pytest.raises(InputError, match=r"text_vectors/none\.json: found No such file"):
        read_vectors("none.json")


def test_a_saved_model_needs_no_vectors(tmp_path):
    """Nor does what describes it hold them."""
    vectors = tmp_path / "v.json"
    vectors.write_text(json.dumps({"vectors": {"liver": [1, 2, 3]}}))
    overrides = [
        "task=[liver]",
        "model=uniseg_tiny",
        "model/conditioning=text_embedding",
        "model/head=dynamic",
        f"model.conditioning.vectors.path={vectors}",
    ]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides)
    model = instantiate(config.model, _convert_="all")(TaskSet([make_task()]), patch_size=(16, 32, 32))
    folder = save_model(model, tmp_path / "shared")
    vectors.unlink()
    assert model.config["conditioning"]["vectors"] is None
    assert load_model(folder).conditioning.embeddings.tolist() == model.conditioning.embeddings.tolist() != [[0.0] * 3]
