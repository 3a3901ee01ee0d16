"""The measurement of a card, shrunk, on a processor: a card is at hand for minutes, so it must run at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/bench_gpu.py"


def bench(out: Path, *options: str) -> dict:
    words = [sys.executable, str(SCRIPT), "--device", "cpu", "--tiny", "--out", str(out), *options]
    done = subprocess.run(words, capture_output=True, text=True, cwd=out, timeout=400)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (path,) = out.glob("*.json")
    return json.loads(path.read_text())


def test_rates_step_and_prediction(tmp_path):
    results = bench(tmp_path, "--parts", "rates,step,predict")
    parts, ended = results["parts"], results["ended"]
    assert parts["rates"]["card"] == "processor"
    assert min(parts["rates"][key] for key in ("product_bf16_tflops", "product_fp16_tflops", "copy_gb_s")) > 0
    assert ended["step.nnunet"].startswith("skipped: No module named")
    step = parts["step"]["auto"]
    assert ended["step.auto"] == "done"
    assert 0 < step["fastest_ms"] <= step["step_ms"]
    assert step["unsynchronized_ms"] > 0
    assert step["first_s"] > 0
    assert 0.05 < step["reserved_gb"] < 8
    assert step["parameters"] > 10_000
    assert parts["predict"]["tasks"] == 7
    for way in ("at_once", "one_by_one"):
        run = parts["predict"][way]
        assert run["seconds"] > max(run["stages"].values()) > 0
        assert {"resample", "encode", "decode", "restore"} <= run["stages"].keys()


@pytest.mark.slow
def test_stream_synchronisations_and_accuracy(tmp_path):
    results = bench(tmp_path, "--parts", "syncs,stream,accuracy")
    parts, ended = results["parts"], results["ended"]
    assert {ended["phantoms"], ended["trainings"], ended["stream"]} == {"done"}
    assert parts["syncs"] == {"syncs_per_step": 0.0, "sync_steps": 4, "on_card": False, "sync_places": {}}
    stream = parts["stream"]
    assert stream["steady_steps"] == 5
    assert stream["steps_per_s"] == pytest.approx(1000 / stream["step_ms"], rel=1e-3)
    assert stream["epoch_550_s"] >= 550 / stream["steps_per_s"] * 0.999
    assert stream["epoch_550_is"] == "extrapolated"
    accuracy = parts["accuracy"]
    dice = [accuracy[arm]["dice"] for arm in ("half", "float32", "float32_other_seed")]
    assert all(0 <= value <= 1 for value in dice)
    assert accuracy["summary"]["noise"] == pytest.approx(abs(dice[1] - dice[2]), abs=1e-3)


def test_what_finds_no_time_is_named(tmp_path):
    results = bench(tmp_path, "--parts", "rates,predict", "--limit", "1")
    assert results["ended"] == {"rates": "skipped: no time left", "predict": "skipped: no time left"}
    assert results["parts"] == {}


def test_what_a_card_measures_first_and_compiles_beforehand(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import bench_gpu
    from gpu.scale import Scale

    jobs = bench_gpu.step_jobs(Scale(), profile=True)
    names = [job.name for job in jobs]
    assert names[: bench_gpu.FIRST] == ["step.auto", "step.nnunet", "step.mixed_tasks"]
    assert len(names) == 10
    assert [job.name for job in jobs if job.given["profile"]] == ["step.auto", "step.nnunet"]
    warm = bench_gpu.warm_jobs(jobs)
    assert [job.name for job in warm] == [f"warm.{name[5:]}" for name in ("step.nnunet", "step.compiled")]
    assert all(job.given["warm"] for job in warm)


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from gpu import report

    return report


def test_the_table_leaves_out_what_was_not_measured(report):
    parts = {
        "rates": {"card": "NVIDIA H200", "torch": "2.11", "copy_gb_s": 4300.0},
        "step": {
            "auto": {"step_ms": 40.0, "reserved_gb": 5.0, "kernel_ms": 36.0},
            "nnunet": {"step_ms": 50.0, "reserved_gb": 6.6},
            "mixed_tasks": {"step_ms": 41.0, "unsynchronized_ms": 40.0, "reserved_gb": 5.0},
            "bf16": {"first_s": 3.0},
        },
        "stream": {"step_ms": 42.0, "steps_per_s": 23.8},
    }
    rows = dict(report.rows({"parts": parts}))
    step = f"{report.STEP}: "
    assert rows[f"{step}auto"] == "40.0 ms, 0.80 of nnU-Net's, kernels alone 36.0 ms; 5.00 GB reserved"
    assert rows["whole stream against the static step of the same tasks"] == "1.050"
    assert not any("bf16" in what or "utilisation" in what for what in rows)


def test_a_difference_counts_where_it_is_larger_than_that_of_two_seeds(report):
    arms = {"half": {"dice": 0.60}, "float32": {"dice": 0.66}, "float32_other_seed": {"dice": 0.62}}
    assert report.summarize_accuracy(arms, floor=0.03)["within"]
    assert not report.summarize_accuracy({**arms, "half": {"dice": 0.5}}, floor=0.03)["within"]
    assert report.summarize_accuracy({"half": {"dice": 0.6}}, floor=0.03) is None
