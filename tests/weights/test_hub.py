"""Models by name: a card that a hub reads, fetching and pushing through its client, which is a stub here."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from samples import make_task, save_nifti, small_model
from started import run, succeed
from uniseg import Predictor, UniSegModel
from uniseg.errors import InputError
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights import hub
from uniseg.weights.card import model_card
from uniseg.weights.folder import save_model
from uniseg.weights.foreign.open import open_source


class Hub:
    """What the client offers, on folders of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.is_silent, self.cached = folder, [], False, set()

    def repo_info(self, name, timeout):
        self.asked.append(name)
        assert 0 < timeout <= 10
        if self.is_silent:
            raise TimeoutError("timed out")
        if not (self.folder / name).is_dir():
            raise OSError(f"404 Client Error\nfor {name}")

    def snapshot_download(self, name, allow_patterns, local_files_only=False):
        assert "*.pt" not in allow_patterns
        assert local_files_only or not self.is_silent, "it waits without an end"
        if local_files_only and name not in self.cached:
            raise OSError("nothing in the cache")
        self.cached.add(name)
        return str(self.folder / name)

    def create_repo(self, name, private, exist_ok):
        self.private = private

    def upload_folder(self, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder / repo_id)
        return f"https://hub/{repo_id}"


@pytest.fixture
def client(tmp_path, monkeypatch):
    client = Hub(tmp_path / "hub")
    module = SimpleNamespace(snapshot_download=client.snapshot_download, HfApi=lambda: client)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setattr(hub, "find_spec", lambda name: name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return client


def named_model():
    model = small_model(TaskSet([make_task()]))
    model.provenance = Provenance({"liver": {"licence": "CC BY-SA 4.0"}})
    return model


def test_what_is_pushed_comes_back_by_name(client):
    model = UniSegModel.from_preset("uniseg_tiny", [make_task()], patch_size=(16, 32, 32)).eval()
    assert model.push_to_hub("me/liver-seg") == "https://hub/me/liver-seg"
    assert client.private
    again = UniSegModel.from_pretrained("me/liver-seg")
    image, task = torch.randn(1, 1, 16, 32, 32), torch.tensor([0])
    with torch.no_grad():
        assert torch.equal(again(image, task)[0], model(image, task)[0])
    assert client.asked == ["me/liver-seg"]


def test_commands_predict_with_a_model_of_a_hub(client):
    save_model(named_model(), client.folder / "me/liver")
    scan = save_nifti(Path("scan.nii.gz"), np.random.default_rng(0).normal(size=(9, 20, 20)).astype(np.float32))
    done = succeed("predict", "checkpoint=me/liver", f"input={scan}", "output=out", "tasks=[liver]", cwd=Path.cwd())
    assert done.stdout.strip() == "out/liver/scan.nii.gz"
    assert Predictor.from_pretrained("me/liver").model.tasks.names == ("liver",)
    assert open_source("me/liver").licence == "CC BY-SA 4.0"


def test_what_the_hub_does_not_have_is_one_line(client):
    with pytest.raises(InputError, match=r"me/none: found no such file, and the hub says 404 Client Error for me/none"):
        UniSegModel.from_pretrained("me/none")
    done = run("info", "checkpoint=me/none", cwd=Path.cwd())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_hub_that_does_not_answer_is_one_line_or_what_was_fetched_before(client):
    save_model(named_model(), client.folder / "me/liver")
    client.is_silent = True
    with pytest.raises(InputError, match="me/liver: found no such file, and the hub says timed out; "):
        UniSegModel.from_pretrained("me/liver")
    client.is_silent = False
    UniSegModel.from_pretrained("me/liver")
    client.is_silent = True
    assert UniSegModel.from_pretrained("me/liver").tasks.names == ("liver",)


def test_a_mistyped_path_asks_nobody(client):
    Path("outputs").mkdir()
    for path in ("outputs/demo", "run/last.ckpt", "a/b/c", "/tmp/none", "./a/b", "nothing", "../x"):
        with pytest.raises(InputError):
            UniSegModel.from_pretrained(path)
    assert client.asked == []


def test_without_the_client_it_says_what_to_install(client, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"me/liver: found No such file or directory; .*pip install 'uniseg\[hub\]'"):
        UniSegModel.from_pretrained("me/liver")
    with pytest.raises(InputError, match=r"pip install 'uniseg\[hub\]'"):
        hub.push_to_hub(named_model(), "me/liver")
    with pytest.raises(InputError, match="found a name without its user"):
        hub.push_to_hub(named_model(), "liver")


def head(model):
    card = model_card(model)
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_the_head_of_the_card():
    assert head(named_model()) == {
        "license": "cc-by-sa-4.0",
        "library_name": "uniseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["uniseg", "medical", "3d", "segmentation", "ct"],
        "datasets": ["liver"],
        "metrics": ["dice"],
    }


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("CC BY 4.0", ("cc-by-4.0", None)),
        ("Apache 2.0", ("apache-2.0", None)),
        ("MIT", ("mit", None)),
        ("", ("other", "unknown-not-recorded")),
        ("ask: the\nauthors", ("other", "unknown-ask-the-authors")),
        ("none needed", ("other", "none-needed")),
    ],
)
def test_a_licence_as_the_hub_calls_it(licence, found):
    model = named_model()
    model.provenance = Provenance({"liver": {"licence": licence}})
    values = head(model)
    assert (values["license"], values.get("license_name")) == found


@pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="the hub's client is not installed")
def test_the_hubs_own_reader_takes_the_card():
    from huggingface_hub import ModelCard

    data = ModelCard(model_card(named_model())).data
    assert (data.license, data.library_name, data.metrics) == ("cc-by-sa-4.0", "uniseg", ["dice"])
