"""All that is worth knowing of a card, within minutes: rates, a training step, the stream, prediction, accuracy.

Runs from a checkout that is not installed, without a network. Every part has its own time limit; results are printed
and written as they come.

    python3 benchmarks/bench_gpu.py [--nnunet FOLDER] [--parts rates,step] [--limit 340] [--out FOLDER] [--profile]
    python3 benchmarks/bench_gpu.py --table      # RESULTS.md and the documentation, from the JSON files
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpu import report
from gpu.phantoms import COARSE, FINE
from gpu.scale import Scale
from gpu.session import Job, Session, say, wait_for
from gpu.workers import Worker
from record import write_table

HERE = Path(__file__).parent
PARTS = ("rates", "step", "syncs", "stream", "predict", "accuracy")
STEP_S = 60.0
# Name -> changes to the defaults of speed=auto, most important first; nnU-Net stands among them.
NNUNET = "nnunet"
VARIANTS: dict[str, dict] = {
    "auto": {},
    NNUNET: {},
    "mixed_tasks": {"mixed": True},
    "compiled": {"changes": {"compile": True}},
    "without_graphs": {"changes": {"cuda_graphs": False, "compile": False}},
    "without_fused_norm": {"changes": {"fused_norm": False}},
    "without_joined_halves": {"changes": {"joined_halves": False}},
    "bf16": {"changes": {"precision": "bf16-mixed"}},
    "channels_first": {"changes": {"channels_last": False}},
    "float32": {"changes": {"precision": "32-true"}},
}
TINY_VARIANTS = ("auto", NNUNET)
FIRST = 3  # variants that are measured before the stream
ARMS = {"half": (None, 0), "float32": ("32-true", 0), "float32_other_seed": ("32-true", 1)}
NOISE_FLOOR = 0.03  # Dice


def step_jobs(scale: Scale, *, profile: bool) -> list[Job]:
    names = TINY_VARIANTS if scale.tiny else tuple(VARIANTS)
    jobs = []
    for name in names:
        given = {"side": NNUNET if name == NNUNET else "ours", **VARIANTS[name]}
        is_profiled = profile and name in ("auto", NNUNET)
        jobs.append(Job(f"step.{name}", "step", STEP_S, given | {"profile": is_profiled}))
    return jobs


def warm_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Those that are compiled, for the compiler's cache alone."""
    compiled = [job for job in jobs if job.given["side"] == NNUNET or job.given.get("changes", {}).get("compile")]
    return [
        replace(job, name=f"warm.{job.name[5:]}", limit_s=110.0, given=job.given | {"warm": True}) for job in compiled
    ]


def training_jobs(scale: Scale, parts: Sequence[str], folder: Path) -> list[Job]:
    """Those that need not be alone on the card; side by side, or on two cores one after another in one process."""
    runs = [{"name": "syncs", "part": "syncs"}] if "syncs" in parts else []
    if "accuracy" in parts:
        # On processors oneDNN's gradients of a bfloat16 convolution of few voxels are NaN now and then.
        half = "32-true" if scale.device == "cpu" else "16-mixed"
        for name, (precision, seed) in ARMS.items():
            precision = precision or half
            runs.append({"name": f"accuracy.{name}", "part": "accuracy", "precision": precision, "seed": seed})
    if scale.tiny and runs:
        return [Job("trainings", "train", 150.0, {"folder": str(folder), "runs": runs})]
    return [Job(run["name"], "train", 80.0, {"folder": str(folder), "runs": [run]}) for run in runs]


def measure(session: Session, parts: Sequence[str], *, profile: bool) -> None:
    scale, folder = session.scale, session.folder
    steps = step_jobs(scale, profile=profile) if "step" in parts else []
    wanted = {COARSE: {"syncs", "accuracy"} | ({"stream"} if scale.tiny else set()), FINE: {"stream"}}
    caches = [cache for cache, users in wanted.items() if users & {*parts} and not (scale.tiny and cache == FINE)]
    phantoms = Job("phantoms", "phantoms", 150.0, {"folder": str(folder), "caches": caches})
    drawing = session.start(phantoms) if caches else None
    if "rates" in parts:
        session.together([Job("rates", "rates", 40.0)])
    warm = [] if scale.device == "cpu" else warm_jobs(steps)
    at_once = parallel(session)
    warming = [(job, session.start(job)) for job in warm[:at_once]]
    if (jobs := training_jobs(scale, parts, folder)) and drawn(drawing, COARSE, session):
        session.together(jobs)
        summary = report.summarize_accuracy(session.results["parts"].get("accuracy", {}), NOISE_FLOOR)
        if summary is not None:
            session.keep("accuracy.summary", summary)
    for job, worker in warming:
        session.finish(job, worker)
    session.together(warm[at_once:])
    if drawing is not None:
        session.finish(phantoms, drawing)
    last = [Job("predict", "predict", 80.0)] if "predict" in parts else []
    run = {"folder": str(folder), "runs": [{"name": "stream", "part": "stream"}]}
    stream = [Job("stream", "train", 110.0, run)] if "stream" in parts else []
    session.in_turn([*steps[:FIRST], *stream, *last, *steps[FIRST:]])


def drawn(worker: Worker | None, cache: str, session: Session) -> bool:
    """Whether a cache of phantoms is there."""
    done = f"{cache}_s"
    if worker is None:
        return False
    wait_for(
        lambda: done in worker.results or worker.process.poll() is not None, max(0.0, min(120.0, session.left() - 20))
    )
    return done in worker.results


def parallel(session: Session) -> int:
    """How many processes may compile at a time, by cores and by the card's memory."""
    free_gb = session.results["parts"].get("rates", {}).get("free_gb", 24)
    return max(1, min((os.cpu_count() or 2) // 2, int(free_gb // 12)))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, of: %(default)s")
    parser.add_argument("--limit", type=float, default=345.0, help="seconds for everything")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="everything shrunk, to see that it runs")
    parser.add_argument("--nnunet", default="", help="folder with nnunetv2 and dynamic_network_architectures")
    parser.add_argument("--out", type=Path, default=HERE / "gpu", help="folder of the JSON file")
    parser.add_argument("--profile", action="store_true", help="also the kernels that take most of a step")
    parser.add_argument("--table", action="store_true", help="only write the tables from the JSON files")
    given = parser.parse_args()
    given.parts = given.parts.split(",")
    if unknown := sorted({*given.parts} - {*PARTS}):
        parser.error(f"unknown parts {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return given


def write_tables() -> None:
    write_table()
    report.insert(HERE.parent / "docs/performance.md")


def main() -> None:
    given = options()
    if given.table:
        write_tables()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers end too
    scale = Scale(given.device, given.tiny, os.path.abspath(given.nnunet) if given.nnunet else "")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{folder}/inductor")
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")
        session = Session(scale, given.out, Path(folder), given.limit)
        try:
            measure(session, given.parts, profile=given.profile)
        finally:
            session.end()
    if given.out == HERE / "gpu" and not given.tiny:
        write_tables()
    if not given.tiny:
        say(report.table(session.results))
    say(f"{session.path}, {session.results['seconds']} s")
    failed = [name for name, ended in session.results["ended"].items() if ended.startswith("failed")]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
