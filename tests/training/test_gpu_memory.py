"""What a training says of a GPU's memory, without one."""

import logging
from types import SimpleNamespace

import pytest
import torch

from uniseg.errors import InputError
from uniseg.planning.step_cost import StepBytes
from uniseg.training.callbacks.gpu_memory import GpuMemory, bytes_of, memory_line
from uniseg.training.modules import UpstreamModule
from uniseg.training.optimization import Optimization
from uniseg.training.speed import SpeedSettings, with_fused_optimizer

STEP = StepBytes(saved=10 * 10**9, largest=10**9, weights=2 * 10**9)


def test_the_line_and_the_refusal():
    assert memory_line(STEP, 9.0) == (
        "GPU memory: tensors of the step about 13.0 GB, with what allocator, graphs and libraries keep at most "
        "22.0 GB, of 9.0 GB free."
    )
    with pytest.raises(InputError, match=r"13\.0 GB .* 7\.9 GB that are free; .*speed\.checkpoint_activations=true"):
        memory_line(STEP, 7.9)
    assert "computed again" in memory_line(STEP, 2.1, recomputes=True)


def test_bytes_grow_with_patch_batch_and_precision(model):
    module = UpstreamModule(
        model,
        tasks=model.tasks,
        optimization=with_fused_optimizer(Optimization(), SpeedSettings.plain(fused_optimizer=True)),
    )
    one, two = (bytes_of(module, (8, 16, 16), batch, torch.float32) for batch in (1, 2))
    larger, half = bytes_of(module, (16, 16, 16), 1, torch.float32), bytes_of(module, (8, 16, 16), 1, torch.float16)
    assert 1.7 < two.saved / one.saved < 2.1
    assert 1.6 < larger.saved / one.saved < 2.2
    assert 0.4 < half.saved / one.saved < 0.8
    numbers = sum(p.numel() for p in model.parameters())
    assert one.weights == pytest.approx(12 * numbers, rel=0.02)
    assert next(model.parameters()).device.type == "cpu"


@pytest.mark.parametrize(("free", "fits"), [(10**9, True), (10**4, False)])
def test_a_training_on_a_gpu_says_it_before_the_first_step(model, monkeypatch, caplog, free, fits):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**10))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    for name, value in (("max_memory_allocated", 5.49e9), ("max_memory_reserved", 6.1e9)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    settings = SimpleNamespace(patch_size=(8, 16, 16), batch_size=2)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cuda")), world_size=1, precision="16-mixed",
        datamodule=SimpleNamespace(settings=settings),
    )  # fmt: skip
    callback, module = GpuMemory(), UpstreamModule(model, tasks=model.tasks)
    if not fits:
        with pytest.raises(InputError, match=r"data\.patch_size"):
            callback.on_fit_start(trainer, module)
        return
    with caplog.at_level(logging.INFO):
        callback.on_fit_start(trainer, module)
        callback.on_train_epoch_end(trainer, module)
        callback.on_train_epoch_end(trainer, module)
    assert [line for line in caplog.messages if "peak" in line] == [
        "GPU memory: 5.5 GB at the peak of the first epoch, 6.1 GB reserved."
    ]
    assert any("of 1.0 GB free" in line for line in caplog.messages)


def test_a_network_that_cannot_be_modelled_trains_all_the_same(model, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    module = UpstreamModule(model, tasks=model.tasks)
    module.loss.forward = lambda logits, *_: logits[0].sum() * float(logits[0].sum())
    settings = SimpleNamespace(patch_size=(8, 16, 16), batch_size=2)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cuda")), world_size=1, precision="16-mixed",
        datamodule=SimpleNamespace(settings=settings),
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        GpuMemory().on_fit_start(trainer, module)
    assert "not modelled" in caplog.messages[-1]
