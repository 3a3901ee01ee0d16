"""Whatever is done to a file of weights, loading it works or ends in one line that names the file."""

import copy
import hashlib
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
from monai.networks.nets import SegResNetDS
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from samples import small_model
from uniseg import InputError, load_ensemble, load_model
from uniseg.task import TaskSet
from uniseg.weights import import_nnunet, import_published
from uniseg.weights.foreign.open import open_source
from uniseg.weights.foreign.write_published import write_published

HERE = Path(__file__).parent
DATA = HERE / "data"
VALUES = (
    None,
    7,
    -1,
    10**9,
    10**400,
    0.5,
    float("nan"),
    True,
    "",
    "../../x",
    "x" * 100_000,
    [],
    [[]],
    [None] * 300,
    {},
    {"a": {"b": [{}]}},
    "remove",
)
DEEP = "deep"  # a list in a list in a list, deeper than Python follows
NUM_MUTATIONS = 40  # of each kind's description


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Of every value in nested dicts and lists, tensors aside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    below = [
        place for key, value in inner if not isinstance(value, torch.Tensor) for place in places(value, (*path, key))
    ]
    return ([path] if path else []) + below


def mutated(content: dict, place: tuple, value: object) -> dict:
    changed = copy.deepcopy(content)
    *above, last = place
    holder = changed
    for key in above:
        holder = holder[key]
    if isinstance(value, str) and value == "remove":
        del holder[last]
    else:
        holder[last] = deep() if value == DEEP else value
    return changed


def deep() -> list:
    value: list = []
    for _ in range(500):
        value = [value]
    return value


class Kind:
    """One kind of file: how it is read, and its description taken out and put back."""

    def __init__(
        self, path: Path, open_it: Callable[[], object], read: Callable[[], dict], write: Callable[[dict], None]
    ) -> None:
        self.path, self.open_it, self.read, self.write = path, open_it, read, write

    def refuses_or_reads(self, named: Path | None = None) -> bool:
        """Whether it was refused."""
        try:
            self.open_it()
        except InputError as error:
            message = str(error)
        else:
            return False
        assert "\n" not in message
        assert len(message) < 3000
        assert str(named or self.path.parent) in message
        return True


def pickled(path: Path, open_it: Callable[[], object]) -> Kind:
    return Kind(path, open_it, lambda: torch.load(path, weights_only=False), lambda content: torch.save(content, path))


def described(path: Path, open_it: Callable[[], object]) -> Kind:
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        description = json.loads(file.metadata()["uniseg"])
    return Kind(
        path, open_it, lambda: description, lambda content: save_file(tensors, path, {"uniseg": json.dumps(content)})
    )


def in_json(path: Path, open_it: Callable[[], object]) -> Kind:
    return Kind(
        path, open_it, lambda: json.loads(path.read_text()), lambda content: path.write_text(json.dumps(content))
    )


def make(name: str, folder: Path) -> Kind:
    shutil.copytree(DATA, folder / "own")
    files, path = folder / "own", folder / "own" / "file"
    if name == "checkpoint":
        return pickled(files / "last.ckpt", lambda: load_model(files / "last.ckpt"))
    if name == "folder":
        return in_json(files / "shared/model.json", lambda: load_model(files / "shared"))
    if name == "task file":
        return described(
            files / "kidney.safetensors", lambda: load_model(files / "last.ckpt", [files / "kidney.safetensors"])
        )
    if name == "delta":
        return described(
            files / "kidney.delta.safetensors",
            lambda: load_model(files / "kidney.delta.safetensors", base=files / "last.ckpt"),
        )
    if name == "ensemble":
        shutil.move(files / "shared", files / "member0")
        path = files / "ensemble.json"
        path.write_text(json.dumps({"kind": "uniseg ensemble", "format": 1, "members": ["member0"]}))
        return in_json(path, lambda: load_ensemble(files))
    if name == "nnU-Net":
        shutil.copy(HERE / "nnunet/plain.pth", path)
        return pickled(path, lambda: (import_nnunet(path), open_source(path)))
    if name == "nnssl":
        content = torch.load(HERE / "nnunet/residual.pth", weights_only=False)
        torch.save(
            {key: content[key] for key in ("network_weights", "trainer_name")}
            | {"nnssl_adaptation_plan": {"key_to_encoder": "encoder.stages"}},
            path,
        )
        return pickled(path, lambda: open_source(path))
    if name == "SegResNet":
        torch.save(
            {"state_dict": SegResNetDS(init_filters=8, norm="instance", blocks_down=(1, 1)).state_dict(), "epoch": 3},
            path,
        )
        return pickled(path, lambda: open_source(path))
    tasks = TaskSet(load_model(files / "last.ckpt").tasks[:1])
    write_published(small_model(tasks), path)
    return pickled(path, lambda: import_published(path, tasks))


KINDS = ("checkpoint", "folder", "task file", "delta", "ensemble", "nnU-Net", "nnssl", "SegResNet", "published")


@pytest.fixture(params=KINDS)
def kind(request, tmp_path) -> Kind:
    made = make(request.param, tmp_path)
    assert not made.refuses_or_reads(), "as it is, it can be read"
    return made


def test_any_description(kind):
    content = kind.read()
    draw = random.Random(0)
    values = VALUES if content.get("kind") is None else (*VALUES, DEEP)  # torch.save itself ends at depth
    options = [(place, value) for place in places(content) for value in values]
    refused = 0
    for place, value in draw.sample(options, min(NUM_MUTATIONS, len(options))):
        kind.write(mutated(content, place, value))
        refused += kind.refuses_or_reads()
    assert refused > 0


def strangers(whole: bytes) -> list[bytes]:
    """What else a file may hold; ``whole`` cut at 50 places."""
    draw = random.Random(0)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "hello")
    texts = [
        b"",
        b"hello\n",
        b"<!DOCTYPE html><html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x02",
        b"\x80\x02}q\x00.",
        b"\x93NUMPY",
    ]
    cuts = [whole[:at] for at in sorted(draw.sample(range(1, len(whole)), min(50, len(whole) - 1)))]
    return [*texts, draw.randbytes(2000), b"\x80" + draw.randbytes(2000), packed.getvalue(), *cuts]


def test_any_bytes(kind):
    for content in strangers(kind.path.read_bytes()):
        kind.path.write_bytes(content)
        assert kind.refuses_or_reads(), content[:80]
    kind.path.unlink()
    assert kind.refuses_or_reads()
    kind.path.mkdir()
    assert kind.refuses_or_reads()


def test_any_bytes_for_the_tensors_of_a_folder(tmp_path):
    """With the hash of these bytes in the description."""
    kind = make("folder", tmp_path)
    tensors = kind.path.with_name("model.safetensors")
    for content in strangers(tensors.read_bytes()):
        tensors.write_bytes(content)
        kind.write(kind.read() | {"sha256": hashlib.sha256(content).hexdigest()})
        assert kind.refuses_or_reads(tensors), content[:80]


def test_any_tensors(tmp_path):
    """A checkpoint whose state dict holds something else under a name, or is something else."""
    kind = make("checkpoint", tmp_path)
    content = kind.read()
    name = next(iter(content["state_dict"]))
    shape = content["state_dict"][name].shape
    zeros = torch.zeros(shape)
    odd = [
        None,
        3,
        "text",
        [1.0],
        torch.zeros(()),
        torch.zeros(1).expand(10**9),
        zeros.long(),
        zeros.to(torch.complex64),
        zeros.to_sparse(),
    ]
    for value in (*odd, torch.zeros(shape, device="meta"), torch.full(shape, torch.inf)):
        kind.write(content | {"state_dict": content["state_dict"] | {name: value}})
        assert kind.refuses_or_reads()
    for state in (None, [], {}, torch.zeros(3), {1: torch.zeros(3)}):
        kind.write(content | {"state_dict": state})
        assert kind.refuses_or_reads()
        kind.write(content | {"uniseg": state})
        assert kind.refuses_or_reads()


def test_a_record_that_claims_more_numbers_than_it_holds(tmp_path):
    """In the pickle, with a right checksum: read beyond the record, the process would end, or learn from its memory."""
    kind = make("checkpoint", tmp_path)
    content = kind.read()
    content["state_dict"] = {name: torch.zeros(30011) for name in content["state_dict"]}
    kind.write(content)
    with zipfile.ZipFile(kind.path) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    pickled_name = next(name for name in records if name.endswith("data.pkl"))
    count = (30011).to_bytes(2, "little")
    assert records[pickled_name].count(b"M" + count) > 1
    records[pickled_name] = records[pickled_name].replace(b"M" + count, b"J" + (2**31 - 1).to_bytes(4, "little"))
    with zipfile.ZipFile(kind.path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    assert kind.refuses_or_reads()
