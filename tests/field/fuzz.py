"""Hostile inputs through the commands. python tests/field/fuzz.py --kind weights --count 150 --seed 0 [--only 37]

Each trial is a function of kind, seed and number alone. A JSON line per trial goes to standard output or ``--output``,
then come a table and the faults grouped by their cause, with the numbers of the trials that show them.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from field.forked import TIMEOUT_S, Done
from field.kinds import KINDS
from field.results import snapshot
from field.trial import Trial
from field.verdict import Verdict, judge, signature
from field.world import World, make_world

COLUMNS = (
    "traceback",
    "code",
    "line",
    "hang",
    "outside",
    "input",
    "leftover",
    "half-written",
    "outlived",
    "noise",
    "accepted",
    "again",
    "differs",
)


def run_trials(world: World, kind: str, numbers: Iterable[int], seed: int, *, keep: bool = False) -> Iterator[Verdict]:
    """One verdict after the other.

    Args:
        keep: the scratch folder of the last trial stays, to be looked at.
    """
    for number in numbers:
        shutil.rmtree(world.scratch, ignore_errors=True)
        world.scratch.mkdir()
        for path in (world.commands.home / "tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        trial = KINDS[kind](world, world.scratch, Random(f"{kind} {seed} {number}"))
        yield _run(world, trial, kind, number, seed)
        if not keep:
            shutil.rmtree(world.scratch, ignore_errors=True)


def _run(world: World, trial: Trial, kind: str, number: int, seed: int) -> Verdict:
    before = snapshot(world.root)
    ends: list[Done] = []
    try:
        for position, (command, *overrides) in enumerate(trial.commands):
            limits = {
                "file_bytes": trial.file_bytes,
                "signal": trial.signal if position == 0 else None,
                "timeout_s": 2 * TIMEOUT_S,
            }
            ends.append(world.commands.run(command, *overrides, cwd=world.scratch, env=trial.env, **limits))
            if ends[-1].code != 0 and trial.signal is None:
                break
        faults = judge(trial, ends, world.root, world.scratch, before, snapshot(world.root))
    finally:
        if trial.cleanup is not None:
            trial.cleanup()
    bad = next((done for done in ends if "Traceback" in done.stderr), ends[-1])
    cause = (
        signature(bad.stderr) if "traceback" in faults else "; ".join(f"{key}: {text}" for key, text in faults.items())
    )
    last = trial.commands[len(ends) - 1]
    return Verdict(
        kind,
        number,
        seed,
        trial.what,
        " ".join(last),
        ends[-1].code,
        round(sum(done.seconds for done in ends), 2),
        faults,
        cause,
        " ".join(ends[-1].errors),
        bad.stderr[-3000:],
    )


def summary(verdicts: Sequence[Verdict]) -> str:
    """A table over kinds, then the causes."""
    codes = {
        kind: Counter(v.code for v in verdicts if v.kind == kind) for kind in dict.fromkeys(v.kind for v in verdicts)
    }
    lines = ["| kind | trials | exit codes | bad | " + " | ".join(COLUMNS) + " |", "|---" * (4 + len(COLUMNS)) + "|"]
    for kind, counts in codes.items():
        own = [v for v in verdicts if v.kind == kind]
        said = ", ".join(f"{code}: {number}" for code, number in sorted(counts.items()))
        cells = [sum(column in v.faults for v in own) for column in COLUMNS]
        lines.append(
            f"| {kind} | {len(own)} | {said} | {sum(bool(v.faults) for v in own)} | "
            + " | ".join(map(str, cells))
            + " |"
        )
    causes: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.faults:
            causes[f"{verdict.kind}: {verdict.kind_of_fault}"].append(verdict)
    for cause, own in sorted(causes.items(), key=lambda pair: -len(pair[1])):
        numbers = ",".join(str(v.number) for v in own[:8])
        lines.append(f"{len(own):4d} x {cause}\n       --only {numbers}; first: {own[0].what}: {own[0].command[:300]}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one trial, with what it printed; its folder is kept")
    parser.add_argument("--output", type=Path, help="file for the JSON lines")
    options = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="fuzz_"))
    world = make_world(root)
    verdicts: list[Verdict] = []
    sink = options.output.open("w") if options.output else sys.stdout
    for kind in KINDS if options.kind == "all" else [options.kind]:
        numbers = range(options.count) if options.only is None else [options.only]
        for verdict in run_trials(world, kind, numbers, options.seed, keep=options.only is not None):
            verdicts.append(verdict)
            sink.write(json.dumps(asdict(verdict)) + "\n")
            sink.flush()
    world.commands.close()
    sys.stderr.write(summary(verdicts) + "\n")
    if options.only is None:
        shutil.rmtree(root)
    else:
        sys.stderr.write(f"{verdicts[-1].said}\n{world.scratch}\n")
    return int(any(v.faults for v in verdicts))


if __name__ == "__main__":
    sys.exit(main())
