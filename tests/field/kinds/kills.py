"""Commands that are killed at any moment and started again: the same comes out."""

import shutil
import signal
from functools import cache
from pathlib import Path
from random import Random

from field.kinds.work import commands
from field.results import digest
from field.trial import Trial
from field.world import World

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGINT)
LATEST = 1.1  # of the time that the command takes


def make(world: World, scratch: Path, rng: Random) -> Trial:
    name = rng.choice([*commands(world)])
    number, fraction = rng.choice(SIGNALS), rng.uniform(0.05, LATEST)
    if name.startswith("train") and rng.random() < 0.2:
        number = signal.SIGUSR1
    seconds, expected = undisturbed(world, name)
    world.start(scratch)
    command, place = commands(world)[name]
    interruption = f"{name}: {number.name} after {fraction:.2f} of {seconds:.1f} s"
    return Trial(interruption, (command, command), signal=(number, fraction * seconds), same=place, expected=expected)


@cache
def undisturbed(world: World, name: str) -> tuple[float, dict[str, str]]:
    """(seconds, what comes out) of a command that nobody disturbs."""
    folder = world.root / "undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    world.start(folder)
    command, place = commands(world)[name]
    done = world.commands.succeed(*command, cwd=folder, timeout_s=300)
    found = digest(folder / place)
    shutil.rmtree(folder)
    return done.seconds, found
