"""Weights from strangers: of every kind that the commands read, damaged, mutated, or made to do harm."""

import json
import os
import shutil
from pathlib import Path
from random import Random

from field.base import SETTINGS, TASK
from field.mutate import damage_bytes, damage_checkpoint, damage_safetensors, damage_values, damage_zip, write_pickle
from field.trial import Command, Trial
from field.world import World

KINDS = (
    "checkpoint",
    "checkpoint",
    "checkpoint",
    "folder",
    "folder",
    "task",
    "delta",
    "ensemble",
    "nnunet",
    "published",
    "segresnet",
)
STATE_KEYS = {"checkpoint": "state_dict", "nnunet": "network_weights", "published": "state_dict", "segresnet": None}
FOREIGN = ("nnunet", "published", "segresnet")


def make(world: World, scratch: Path, rng: Random) -> Trial:
    world.start(scratch)
    kind = rng.choice(KINDS)
    source = world.weights[kind]
    path = scratch / source.name
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    if rng.random() < 0.08:
        change, path = _not_there(path, rng)
    elif source.is_dir():
        change = _damage_folder(path, rng)
    else:
        change = _damage_file(path, kind, rng, scratch / "trap")
    command = _command(world, kind, path, rng)
    return Trial(f"{kind}: {change}", (command,), env={"SECRET": "hunter2"})


def _damage_file(path: Path, kind: str, rng: Random, trap: Path) -> str:
    way = rng.random()
    if way < 0.3:
        change, content = damage_bytes(path.read_bytes(), rng)
        path.write_bytes(content)
        return change
    if path.suffix == ".safetensors":
        return damage_safetensors(path, rng)
    if way < 0.4:
        return write_pickle(path, rng, trap)
    if way < 0.48:
        return damage_zip(path, rng)
    return damage_checkpoint(path, rng, STATE_KEYS[kind])


def _damage_folder(folder: Path, rng: Random) -> str:
    """Of one model, or of several."""
    path = rng.choice(
        sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors") or rng.random() < 0.1)
    )
    way = rng.random()
    if path.is_dir() or way < 0.08:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return f"{path.name} removed"
    if way < 0.3 or path.suffix not in (".json", ".safetensors"):
        change, content = damage_bytes(path.read_bytes(), rng)
        path.write_bytes(content)
    elif path.suffix == ".json":
        change, content = damage_values(json.loads(path.read_bytes()), rng)
        path.write_text(json.dumps(content))
    else:
        change = damage_safetensors(path, rng)
    return f"{path.name}: {change}"


def _not_there(path: Path, rng: Random) -> tuple[str, Path]:
    options = {
        "missing": path.with_name("missing.ckpt"),
        "/etc/passwd": Path("/etc/passwd"),
        "a folder": path.parent / "nothing",
        "a loop": path.parent / "loop",
    }
    change = rng.choice([*options])
    if change == "a folder":
        options[change].mkdir()
    if change == "a loop":
        os.symlink("loop", options[change])
    return change, options[change]


def _command(world: World, kind: str, path: Path, rng: Random) -> Command:
    predict = ("predict", f"input={world.scan}", "output=out", "modality=[CT]", "inference.device=cpu")
    train = (
        "train",
        f"task=[{TASK}]",
        *SETTINGS,
        f"paths.cache={world.base.folder}/outputs/cache",
        "paths.outputs=out",
        "data.steps_per_epoch=1",
        "data.val_steps=1",
    )
    if kind == "task":
        return (*predict, f"checkpoint={world.base.checkpoint}", f"task_files=['{path}']")
    if kind == "delta":
        return ("export", f"checkpoint='{path}'", f"base={world.base.checkpoint}", "output=out/whole")
    if kind in FOREIGN:
        dry = ("init.dry_run=true",) if rng.random() < 0.5 else ()
        return (*train, "init=checkpoint", f"init.checkpoint='{path}'", *dry)
    if kind == "checkpoint":
        uses = (
            (*predict, f"checkpoint='{path}'"),
            (*predict, f"checkpoint='{path}'"),
            ("export", f"checkpoint='{path}'", "output=out/exported"),
            (*train, f"ckpt_path='{path}'", "trainer.max_epochs=2", "data.steps_per_epoch=40"),
            (*train, "init=checkpoint", f"init.checkpoint='{path}'"),
            (*predict, f"checkpoint=['{path}',{world.base.checkpoint}]"),
        )
        return rng.choice(uses)
    return rng.choice(
        (
            (*predict, f"checkpoint='{path}'"),
            (*predict, f"checkpoint='{path}'"),
            (*train, "init=checkpoint", f"init.checkpoint='{path}'"),
        )
    )
