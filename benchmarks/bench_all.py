"""Every benchmark of a processor, one subject after another, each in a process of its own; for a quiet machine.

    make bench DATA=<folder of scans> SCAN=<abdominal CT>     all of them
    make bench BENCH="step augment"                           some

A subject that fails or lacks what it needs does not end the others; give what is named at the end as BENCH.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "outputs/demo/checkpoints/last.ckpt"


@dataclass(frozen=True)
class Subject:
    """A script.

    Attributes:
        minutes: about, on two cores.
        options: of each run of it; ``{data}`` stands for what the command line gives.
        optional: added where the command line gives it.
    """

    minutes: int
    options: tuple[str, ...] = ("",)
    optional: str = ""


NNUNET = "--nnunet-python {nnunet_python}"
SUBJECTS = {  # ``bench_<subject>.py``
    "import": Subject(1),
    "augment": Subject(4, (f"{NNUNET} --channels 1", f"{NNUNET} --channels 4")),
    "reader": Subject(3, (NNUNET,)),
    "prepare": Subject(3, (f"{NNUNET} --data {{data}}",)),
    "scale": Subject(4),
    "conditioning": Subject(4),
    "step": Subject(12, (NNUNET,)),
    "demo": Subject(8),  # before what takes its checkpoint
    "predict_speed": Subject(12, ("--checkpoint {checkpoint} --published",), "--scan {scan}"),
    "predict_memory": Subject(9),
    "shared_encoding": Subject(2),
    "onnx": Subject(2),
}


def commands(name: str, given: dict[str, Path | None]) -> list[list[str]]:
    """Of a subject.

    Raises:
        KeyError: what it needs was not given.
    """
    subject = SUBJECTS[name]
    known = {key: str(path) for key, path in given.items() if path is not None}
    script = [sys.executable, str(HERE / f"bench_{name}.py")]
    try:
        more = [word.format(**known) for word in subject.optional.split()]
    except KeyError:
        more = []
    return [[*script, *(word.format(**known) for word in each.split()), *more] for each in subject.options]


def run(name: str, given: dict[str, Path | None]) -> str:
    """What became of a subject; empty where it was measured."""
    try:
        words = commands(name, given)
    except KeyError as lacking:
        return f"skipped: give {lacking.args[0].upper()}="
    if "{checkpoint}" in SUBJECTS[name].options[0] and not Path(str(given["checkpoint"])).is_file():
        return f"skipped: {given['checkpoint']} is not there; run the subject demo before"
    codes = [subprocess.run(each, check=False).returncode for each in words]
    return f"failed: exit code {max(codes, key=abs)}" if any(codes) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"of {', '.join(SUBJECTS)}; none: all")
    parser.add_argument("--nnunet-python", type=Path, help="python of an environment with nnunetv2==2.8.1")
    parser.add_argument("--data", type=Path, help="folder of nnU-Net datasets, for prepare")
    parser.add_argument("--scan", type=Path, help="abdominal CT, for predict_speed")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="of the demo, for predict_speed")
    given = vars(parser.parse_args())
    subjects = given.pop("subjects") or list(SUBJECTS)
    if unknown := sorted(set(subjects) - set(SUBJECTS)):
        parser.error(f"unknown subject {unknown[0]}; there are {', '.join(SUBJECTS)}")
    _say(f"{len(subjects)} subjects, about {sum(SUBJECTS[name].minutes for name in subjects)} minutes")
    left, begun = [], time.monotonic()
    for name in subjects:
        _say(f"{name}: about {SUBJECTS[name].minutes} minutes")
        start = time.monotonic()
        ended = run(name, given)
        _say(f"{name}: {ended or 'done'}, {(time.monotonic() - start) / 60:.1f} minutes")
        left += [name] if ended else []
    _say(f"{(time.monotonic() - begun) / 60:.1f} minutes in all")
    if left:
        sys.exit(f'not measured: make bench BENCH="{" ".join(left)}"')


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
