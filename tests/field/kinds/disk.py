"""Disks that are full, cannot be written to, or have lost something that was there."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

from field.base import SETTINGS, TASK
from field.kinds.work import commands
from field.trial import Trial
from field.world import World

LIMITS = (0, 1, 100, 2000, 20_000, 60_000, 200_000)  # bytes of one file


def make(world: World, scratch: Path, rng: Random) -> Trial:
    world.start(scratch)
    return rng.choice(FAULTS)(world, scratch, rng)


def _large_files(world: World, scratch: Path, rng: Random) -> Trial:
    """No file may grow beyond a limit, which a full disk looks like."""
    name, limit = rng.choice([*commands(world)]), rng.choice(LIMITS)
    command, _ = commands(world)[name]
    return Trial(f"{name}: files up to {limit} bytes", (command,), file_bytes=limit)


def _full(world: World, scratch: Path, rng: Random) -> Trial:
    """The output is a file system with too little room; where nothing may be mounted, files are limited instead."""
    name, size = rng.choice([*commands(world)]), rng.choice((8, 40, 120, 400))
    out = scratch / "out"
    out.mkdir()
    if not _mounted("-t", "tmpfs", "-o", f"size={size}k", "none", str(out)):
        return _large_files(world, scratch, rng)
    return Trial(
        f"{name}: a disk of {size} KiB",
        (commands(world)[name][0],),
        cleanup=lambda: subprocess.run(["umount", "-l", str(out)], check=True, timeout=300),
    )


def _read_only(world: World, scratch: Path, rng: Random) -> Trial:
    name = rng.choice([*commands(world)])
    out = scratch / "out"
    out.mkdir()
    if not _mounted("-t", "tmpfs", "-o", "ro", "none", str(out)):
        out.rmdir()
        out.write_text("a file")
    return Trial(
        f"{name}: output read-only",
        (commands(world)[name][0],),
        cleanup=lambda: subprocess.run(["umount", "-l", str(out)], check=False, capture_output=True, timeout=300),
    )


def _in_the_way(world: World, scratch: Path, rng: Random) -> Trial:
    """A file where a folder should be, or the reverse, or a link to nowhere."""
    name = rng.choice([*commands(world)])
    command, place = commands(world)[name]
    path = scratch / rng.choice(("out", place, f"{place}/{TASK}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = rng.choice(("file", "file", "link to nothing", "link to itself"))
    path.write_text("mine") if kind == "file" else os.symlink(
        "nothing/at/all" if kind == "link to nothing" else path.name, path
    )
    return Trial(f"{name}: a {kind} at {path.relative_to(scratch)}", (command,), outputs=(), adds_anywhere=True)


def _damaged_cache(world: World, scratch: Path, rng: Random) -> Trial:
    """A part is cut, removed or replaced: training says so, or does not meet it; ``prepare`` mends it."""
    cache = scratch / "out/cache"
    shutil.copytree(world.base.folder / "outputs/cache", cache)
    path = rng.choice(sorted(path for path in (cache / TASK).rglob("*") if path.is_file() and path.suffix != ".png"))
    change = _damage(path, rng)
    train = ("train", f"task=[{TASK}]", *SETTINGS, "paths.outputs=out", "data.steps_per_epoch=12")
    prepare = ("prepare", f"task=[{TASK}]", *SETTINGS, "paths.outputs=out", "num_workers=1")
    chosen = (train,) if rng.random() < 0.5 else (prepare, train)
    return Trial(
        f"cache: {path.relative_to(cache)} {change}; {' then '.join(command[0] for command in chosen)}", chosen
    )


def _damaged_folder(world: World, scratch: Path, rng: Random) -> Trial:
    folder = scratch / "model"
    shutil.copytree(world.weights[rng.choice(("folder", "ensemble"))], folder)
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    change = _damage(path, rng)
    predict = (
        "predict",
        "checkpoint=model",
        f"input={world.scan}",
        "output=out",
        "modality=[CT]",
        "inference.device=cpu",
    )
    return Trial(f"exported folder: {path.relative_to(folder)} {change}", (predict,))


def _damaged_output(world: World, scratch: Path, rng: Random) -> Trial:
    """What an earlier run left is damaged; the command is run again."""
    name = rng.choice([name for name in commands(world) if not name.startswith("train")])
    command, place = commands(world)[name]
    world.commands.succeed(*command, cwd=scratch)
    path = rng.choice(sorted(path for path in (scratch / place).rglob("*") if path.is_file()))
    change = _damage(path, rng)
    return Trial(f"{name} again: {path.relative_to(scratch)} {change}", (command,))


def _damage(path: Path, rng: Random) -> str:
    content = path.read_bytes()
    kind = rng.choice(("removed", "cut", "emptied", "a folder", "a bit flipped", "longer"))
    if kind in ("removed", "a folder"):
        path.unlink()
        if kind == "a folder":
            path.mkdir()
        return kind
    damaged = bytearray(content)
    if kind == "a bit flipped" and damaged:
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    contents = {
        "cut": content[: len(content) // 2],
        "emptied": b"",
        "a bit flipped": bytes(damaged),
        "longer": content + b"\0" * 100,
    }
    path.write_bytes(contents[kind])
    return kind


def _mounted(*arguments: str) -> bool:
    return (
        shutil.which("mount") is not None
        and subprocess.run(["mount", *arguments], check=False, capture_output=True, timeout=300).returncode == 0
    )


FAULTS: tuple[Callable[[World, Path, Random], Trial], ...] = (
    _large_files, _large_files, _full, _full, _read_only, _in_the_way, _in_the_way, _damaged_cache, _damaged_cache,
    _damaged_folder, _damaged_output,
)  # fmt: skip
