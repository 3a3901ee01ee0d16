"""Damage of bytes and of nested containers, drawn from a generator."""

import copy
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

HOSTILE = (
    None, True, -1, 0, 1, 3, 7, 100_000, 10**9, 10**30, -(10**9), 0.5, float("nan"), float("inf"), -1e300, "", " ",
    "text", "0", "-1", "nan", "..", "../escape", "../../escape", "/escape", "a/b", "a\0b", "a\nb", ".hidden",
    "x" * 300, "ä" * 80, "${oc.env:HOME}", "${", "${tasks}", "???", "null", "os.system",
    "uniseg.models.uniseg.UniSegModel", "uniseg.models.nothing.Thing", "torch.nn.Linear", [], {}, [[]], [None],
    [-1, -1, -1], [0, 0, 0], [10**6] * 3, [1, 2], [1.5, "a"], {"a": {"b": {}}}, {"": ""}, ["background"], ["a"] * 40,
    "0-99999999999", "[/x]", "$\\frac$", "=1+1", "<script>",
)  # fmt: skip
Path_ = tuple[object, ...]  # of keys and positions


class Escape:
    """Would run a command where a pickle is trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def damage_bytes(content: bytes, rng: Random) -> tuple[str, bytes]:
    """(what was done, the bytes)."""
    size = max(len(content), 1)
    kind = rng.choice(("flip", "flip", "flip", "cut", "zeros", "noise", "insert", "empty", "text", "passwd", "start"))
    at = rng.randrange(size)
    if kind == "flip":
        out = bytearray(content)
        count = rng.choice((1, 1, 4, 30))
        for _ in range(count if out else 0):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return f"{count} bits flipped", bytes(out)
    length = rng.choice((4, 100, 3000))
    changed = {
        "cut": content[:at],
        "zeros": content[:at] + bytes(length) + content[at + length :],
        "noise": rng.randbytes(2000),
        "insert": content[:at] + rng.randbytes(length) + content[at:],
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "passwd": b"root:x:0:0:root:/root:/bin/bash\n" * 20,
        "start": rng.randbytes(16) + content[16:],
    }
    return f"{kind} at {at}", changed[kind]


def leaves(value: object, path: Path_ = ()) -> list[Path_]:
    """Where something can be replaced: every place of nested mappings and lists, containers among them."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, own in items:
        found += leaves(own, (*path, key))
    return found


def damage_values(value: object, rng: Random, hostile: tuple = HOSTILE, depth: int | None = None) -> tuple[str, object]:
    """(what was done, a copy of nested containers with one or two places changed, removed, or added)."""
    out, changes = copy.deepcopy(value), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = [path for path in leaves(out) if depth is None or len(path) <= depth]
        if not places:
            break
        path = rng.choice(places)
        parent = out
        for key in path[:-1]:
            parent = parent[key]
        key, new = path[-1], rng.choice(hostile)
        kind = rng.choice(("replace", "replace", "replace", "replace", "remove", "rename", "add"))
        if isinstance(parent, tuple):
            continue
        if kind == "remove":
            del parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[rng.choice(("", "x", "../escape", 5, "kind"))] = parent.pop(key)
        elif kind == "add" and isinstance(parent, dict):
            parent["another"] = new
        else:
            parent[key] = new
        changes.append(f"{kind} {'/'.join(map(str, path))[-60:]} {new!r:.40}")
    return "; ".join(changes), out


def hostile_tensor(tensor: torch.Tensor, rng: Random) -> tuple[str, object]:
    options: dict[str, Callable[[], object]] = {
        "another shape": lambda: torch.zeros(*tensor.shape, 2),
        "fewer": lambda: tensor.flatten()[:1].clone(),
        "empty": lambda: torch.zeros(0),
        "nan": lambda: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor - 10**6,
        "inf": lambda: torch.full_like(tensor, float("inf")) if tensor.is_floating_point() else tensor * 0,
        "huge values": lambda: tensor * 3e37 if tensor.is_floating_point() else tensor + 10**9,
        "complex": lambda: tensor.to(torch.complex64),
        "bool": lambda: tensor.bool(),
        "half": lambda: tensor.half(),
        "sparse": lambda: tensor.float().to_sparse(),
        "expanded to terabytes": lambda: torch.zeros(1).expand(10**6, 10**6),
        "no tensor": lambda: rng.choice(HOSTILE),
    }
    name = rng.choice([*options])
    return name, options[name]()


def damage_checkpoint(path: Path, rng: Random, state_key: str | None) -> str:
    """A file of ``torch.save``, read safely, with its tensors or its other content changed."""
    content = torch.load(path, map_location="cpu", weights_only=False)
    state = content[state_key] if state_key else content
    if rng.random() < 0.4:
        name = rng.choice([name for name, value in state.items() if isinstance(value, torch.Tensor)])
        kind = rng.choice(("tensor", "tensor", "remove", "rename"))
        if kind == "tensor":
            change, state[name] = hostile_tensor(state[name], rng)
        elif kind == "remove":
            change = kind
            del state[name]
        else:
            change = kind
            state[rng.choice(("x", "../escape", 7, None, "model.encoder.stages.99.0.conv.weight", name + ".more"))] = (
                state.pop(name)
            )
        change = f"{name[-50:]}: {change}"
    else:
        rest = {key: value for key, value in content.items() if key != state_key} if state_key else {}
        change, changed = (
            damage_values(rest, rng, depth=rng.choice((1, 4, 9))) if rest else ("wrapped", {"model": [state]})
        )
        content = changed | ({state_key: state} if state_key else {})
        if rng.random() < 0.1:
            change, content = "a list", [content]
    torch.save(content, path)
    return change


def write_pickle(path: Path, rng: Random, trap: Path) -> str:
    """What only a trusting reader would run; ``trap`` is then there."""
    evil = Escape(trap)
    kind = rng.choice(("pickle", "torch", "inside", "global", "recursive"))
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": evil, "uniseg": {}}))
    elif kind == "torch":
        torch.save({"state_dict": {}, "uniseg": evil}, path)
    elif kind == "inside":
        content = torch.load(path, map_location="cpu", weights_only=False)
        content["more"] = evil
        torch.save(content, path)
    elif kind == "global":
        path.write_bytes(b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR.")
    else:
        circle: dict = {}
        circle["state_dict"] = circle["uniseg"] = circle
        torch.save(circle, path)
    return f"pickle: {kind}"


def damage_zip(path: Path, rng: Random) -> str:
    """An entry of a checkpoint's archive is left out, doubled, emptied, or damaged, with a checksum that fits."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([*entries])
    kind = rng.choice(("left out", "emptied", "damaged", "renamed"))
    if kind == "damaged":
        entries[name] = damage_bytes(entries[name], rng)[1]
    elif kind == "emptied":
        entries[name] = b""
    else:
        content = entries.pop(name)
        if kind == "renamed":
            entries["../../escape"] = content
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in entries.items():
            archive.writestr(each, content)
    return f"entry {name[-30:]} {kind}"


def damage_safetensors(path: Path, rng: Random, key: str = "uniseg") -> str:
    """The header: shapes, offsets, types, or the description that lies in its metadata."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.get("__metadata__", {})
    if key in metadata and rng.random() < 0.6:
        change, changed = damage_values(json.loads(metadata[key]), rng)
        metadata[key] = json.dumps(changed)
    elif rng.random() < 0.2:
        change, metadata[key] = "no JSON", rng.choice(("", "{", "[]", "null", "[" * 5000, "1e999", "\ud800"))
        header["__metadata__"] = metadata
    else:
        change, header = damage_values(header, rng, depth=rng.choice((1, 3)))
    text = json.dumps(header).encode()
    claimed = rng.choice((len(text),) * 5 + (2**40, len(text) + 7))
    path.write_bytes(claimed.to_bytes(8, "little") + text + data)
    return change
