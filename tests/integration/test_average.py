"""Averaged weights from training to prediction."""

import torch

from started import TINY, succeed
from uniseg import Predictor
from uniseg.weights.checkpoint import load_model


def test_prediction_takes_the_averaged_weights(prepared):
    succeed("train", "experiment=demo", *TINY, "name=ema", "callbacks=ema", cwd=prepared)
    path = prepared / "outputs/ema/checkpoints/last.ckpt"
    saved = torch.load(path, weights_only=True)
    averaged, trained = (
        {k.removeprefix("model."): v for k, v in saved[key].items()} for key in ("state_dict", "current_model_state")
    )
    assert any((averaged[key] - trained[key]).abs().max() > 1e-5 for key in averaged)
    for model in (load_model(path), Predictor.from_pretrained(path).models[0]):
        state = model.state_dict()
        assert all(torch.equal(state[key].cpu(), value) for key, value in averaged.items())
    succeed(
        "train",
        "experiment=demo",
        *TINY,
        "name=ema",
        "callbacks=ema",
        "ckpt_path=last",
        "trainer.max_epochs=3",
        cwd=prepared,
    )
    assert torch.load(path, weights_only=True)["global_step"] == 12
