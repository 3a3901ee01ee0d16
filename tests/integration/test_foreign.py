"""Weights of other programs, through the command."""

from pathlib import Path

from started import TASKS, run, succeed

FOLDER = Path(__file__).parents[1] / "weights" / "nnunet"
LIKE_THEIRS = [
    "model/conditioning=none",
    "model/decoder=nnunet",
    "model.encoder.channels=[4,6,8]",
    "model.encoder.strides=[[2,1,2],[2,2,2]]",
    "model.encoder.kernels=[[3,1,3],[3,3,3],[3,3,3]]",
]


def test_a_dry_run_logs_and_writes_nothing(tmp_path):
    dry = [
        "experiment=demo",
        TASKS,
        "init=checkpoint",
        f"init.checkpoint={FOLDER / 'plain.pth'}",
        "init.dry_run=true",
        "hydra.run.dir=.",
    ]
    log = succeed("train", *dry, *LIKE_THEIRS, "finetune=frozen_encoder", cwd=tmp_path).stderr
    for line in (
        "(nnU-Net v2); licence of its data: CC BY 4.0",
        "fresh: other tasks",
        "a bias that the norm after it cancels",
        "parameters train.",
    ):
        assert line in log
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("weights.json"))
    refused = run("train", *dry, *LIKE_THEIRS[:2], cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("error:") == 1
    assert "choose the source's encoder and decoder" in refused.stderr
