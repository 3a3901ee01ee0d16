"""What each switch for speed must leave as it was: outputs, gradients, names."""

from copy import deepcopy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.sampling.settings import StreamSettings
from uniseg.training import fit as fit_module
from uniseg.training.optimization import Optimization
from uniseg.training.run import TrainingRun
from uniseg.training.run_parts import RunDescription
from uniseg.training.speed import (
    COMPILED_STEPS,
    SpeedSettings,
    Tools,
    apply_speed_settings,
    describe_speed,
    num_processes,
    resolve,
    resolve_trainer,
    with_fused_optimizer,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ALL = Tools(compiler=True, triton=True)


def gradients(model):
    torch.manual_seed(1)
    image, task = torch.randn(2, 1, 8, 16, 16, dtype=next(model.parameters()).dtype), torch.tensor([0, 1])
    logits = model.train()(image, task)
    sum(x[:, :2].square().mean() for x in logits).backward()
    return [x.detach() for x in logits], {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


COMPILED = pytest.param(
    "compile", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
)  # torch's compiler warns about its own code


@pytest.mark.parametrize("switch", ["channels_last", "checkpoint_activations", COMPILED])
def test_numbers_and_names_stay(model, switch):
    """In double precision: in single precision, a leaky ReLU at its kink tells rounding apart."""
    model.double()
    plain, names = deepcopy(model), list(model.state_dict())
    apply_speed_settings(model, SpeedSettings.plain(**{switch: True}))
    assert list(model.state_dict()) == names
    (logits, grads), (plain_logits, plain_grads) = gradients(model), gradients(plain)
    torch.testing.assert_close(logits, plain_logits, atol=1e-5, rtol=1e-5)
    assert grads.keys() == plain_grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, plain_grads[name], atol=1e-8, rtol=1e-5)


def test_channels_last_reaches_the_features(model):
    apply_speed_settings(model, SpeedSettings.plain(channels_last=True))
    features = model.encoder(model.stem(torch.randn(2, 1, 8, 16, 16), [model.stem_of(0)] * 2))
    assert all(x.is_contiguous(memory_format=torch.channels_last_3d) for x in features)


def test_stages_are_computed_twice_in_training_only(model):
    apply_speed_settings(model, SpeedSettings.plain(checkpoint_activations=True))
    calls = []
    model.encoder.stages[1][0].register_forward_hook(lambda *_: calls.append(1))
    gradients(model)
    assert len(calls) == 2
    model.eval()(torch.randn(1, 1, 8, 16, 16), torch.tensor([0]))[0].sum().backward()
    assert len(calls) == 3


def test_a_copy_computes_with_its_own_weights(model):
    apply_speed_settings(model, SpeedSettings.plain(checkpoint_activations=True, channels_last=True))
    copy = deepcopy(model)
    gradients(copy)
    assert all(p.grad is None for p in model.parameters())
    assert any(p.grad is not None for p in copy.encoder.parameters())


def test_without_a_compiler_compilation_is_refused(model, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/compiler")
    with pytest.raises(InputError, match=r"speed\.compile: found no C\+\+ compiler"):
        apply_speed_settings(model, SpeedSettings.plain(compile=True))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimizer_takes_the_same_steps(name):
    config = OmegaConf.load(CONF_DIR / "optimizer" / f"{name}.yaml")
    weights = [torch.nn.Parameter(torch.arange(4.0)) for _ in range(2)]
    for weight, fused in zip(weights, (None, True), strict=True):
        optimizer = instantiate(config, fused=fused)([weight])
        for step in range(3):
            weight.grad = torch.tensor([1.0, -1, 2, step])
            optimizer.step()
    torch.testing.assert_close(weights[1], weights[0], atol=1e-7, rtol=1e-6)
    assert (weights[0].detach() - torch.arange(4.0)).abs().min() > 1e-4


def on(settings):
    return {key for key, value in vars(settings).items() if value is True}


ON_CUDA = {"channels_last", "joined_halves", "fused_optimizer"}


@pytest.mark.parametrize(
    ("device", "processes", "tools", "expected"),
    [
        (CPU, 1, ALL, {"channels_last"}),
        (torch.device("mps"), 1, ALL, set()),
        (CUDA, 1, ALL, {"cuda_graphs", "fused_norm", *ON_CUDA}),
        (CUDA, 1, Tools(True, False), {"cuda_graphs", *ON_CUDA}),
        (CUDA, 4, ALL, {"compile", "fused_norm", *ON_CUDA}),
        (CUDA, 4, Tools(False, True), {"fused_norm", *ON_CUDA}),
        (CUDA, 4, Tools(True, False), ON_CUDA),
    ],
)
def test_auto_suits_the_device(device, processes, tools, expected):
    resolved = resolve(SpeedSettings(), device, steps_left=COMPILED_STEPS, processes=processes, tools=tools)
    assert on(resolved) == expected
    assert set(vars(resolved).values()) <= {True, False}


def test_without_graphs_a_run_is_compiled_where_it_is_long_enough():
    given = SpeedSettings(cuda_graphs=False)
    for steps_left, is_compiled in ((COMPILED_STEPS, True), (COMPILED_STEPS - 1, False)):
        assert resolve(given, CUDA, steps_left=steps_left, tools=ALL).compile is is_compiled


def test_activations_computed_again_are_in_no_graph():
    assert not resolve(SpeedSettings(checkpoint_activations=True), CUDA, steps_left=1, tools=ALL).cuda_graphs
    with pytest.raises(InputError, match="checkpoint_activations=true"):
        SpeedSettings(checkpoint_activations=True, cuda_graphs=True)


def test_what_is_chosen_stays_beside_auto():
    given = SpeedSettings(compile=False, fused_norm=True, checkpoint_activations=True)
    on_cpu, on_cuda = (resolve(given, device, steps_left=10**6, tools=ALL) for device in (CPU, CUDA))
    assert on(on_cpu) == {"channels_last", "fused_norm", "checkpoint_activations"}
    assert on(on_cuda) == {"channels_last", "fused_norm", "joined_halves", "fused_optimizer", "checkpoint_activations"}
    assert on(SpeedSettings.plain(compile=True)) == {"compile"}


def test_the_log_says_what_is_on_and_why_not_compiled():
    on, _, reason = describe_speed(SpeedSettings(cuda_graphs=False), CUDA, steps_left=10, tools=ALL).partition("; ")
    assert on == "Speed: channels last, fused norm, joined halves, fused optimizer"
    assert reason == "not compiled: 10 steps left, fewer than 2000."
    assert describe_speed(SpeedSettings.plain(), CUDA, steps_left=10, tools=ALL) == "Speed: nothing on."
    assert "no C++ compiler" in describe_speed(
        SpeedSettings(cuda_graphs=False), CUDA, steps_left=5000, tools=Tools(False, True)
    )


@pytest.mark.parametrize("value", ["fast", 1, None])
def test_a_switch_is_auto_true_or_false(value):
    with pytest.raises(InputError, match=r"speed\.compile: found .*one of auto, or true or false"):
        SpeedSettings(compile=value)


@pytest.mark.parametrize("has_cuda", [True, False])
def test_the_trainer_suits_the_device(monkeypatch, has_cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    auto = {"accelerator": "auto", "precision": "auto", "benchmark": "auto", "max_epochs": 3}
    chosen = resolve_trainer(auto)
    assert chosen == auto | {"precision": "16-mixed" if has_cuda else "32-true", "benchmark": has_cuda}
    assert not resolve_trainer(auto | {"deterministic": True})["benchmark"]
    for precision in ("auto", "16-mixed"):  # a plan made for a card
        assert resolve_trainer(auto | {"accelerator": "cpu", "precision": precision})["precision"] == "32-true"
    given = auto | {"precision": "bf16-mixed", "benchmark": False}
    assert resolve_trainer(given) == given


def test_only_an_optimizer_that_leaves_it_open_is_fused():
    fused, open_ = SpeedSettings.plain(fused_optimizer=True), Optimization()
    assert with_fused_optimizer(open_, fused).optimizer.keywords["fused"] is True
    assert with_fused_optimizer(open_, SpeedSettings.plain()) is open_
    refused = Optimization(optimizer=partial(torch.optim.SGD, lr=0.1, fused=False))
    assert with_fused_optimizer(refused, fused) is refused
    without = Optimization(optimizer=partial(torch.optim.LBFGS, lr=0.1))
    assert with_fused_optimizer(without, fused) is without
    assert with_fused_optimizer(open_, fused).rate == open_.rate


@pytest.mark.parametrize(("num_nodes", "has_graphs"), [(None, True), (1, True), (2, False)])
def test_a_run_of_several_machines_with_a_card_each_has_no_graphs(monkeypatch, num_nodes, has_graphs):
    monkeypatch.setattr("uniseg.training.run.training_device", lambda accelerator: CUDA)
    settings = {"trainer": {"devices": 1, "num_nodes": num_nodes}}
    data = SimpleNamespace(settings=StreamSettings())
    run = TrainingRun(None, None, None, None, Optimization(), description=RunDescription(settings=settings))
    resolved = run._resolved(data, None)
    assert resolved.speed.cuda_graphs is resolved.description.settings["speed"]["cuda_graphs"] is has_graphs
    assert resolved.description.settings["data"]["pin_memory"] is True


@pytest.mark.parametrize(
    ("limits", "is_long"),
    [
        ({"max_epochs": 19}, False),
        ({"max_epochs": 20}, True),
        ({"max_epochs": -1}, True),
        ({"max_epochs": None}, True),
        ({"max_epochs": None, "max_steps": 1999}, False),
        ({"max_epochs": 20, "max_steps": 1999}, False),
    ],
)
def test_how_long_a_run_is_follows_its_limits(monkeypatch, limits, is_long):
    """A long one is compiled where it has no graphs."""
    monkeypatch.setattr("uniseg.training.run.training_device", lambda accelerator: CUDA)
    monkeypatch.setattr(Tools, "installed", lambda: ALL)
    description = RunDescription(settings={"trainer": {"devices": 2, **limits}})
    run = TrainingRun(None, None, None, None, Optimization(), description=description)
    assert run._resolved(SimpleNamespace(settings=StreamSettings()), None).speed.compile is is_long


def test_cards_by_number_are_counted_from_python_too():
    options = fit_module._plain({"devices": [0, 3], "strategy": object()})
    assert num_processes(options["devices"], CUDA) == 2
    assert isinstance(options["strategy"], str)


def test_processes_share_the_cores_of_their_machine(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for devices, number in [
        (1, 1),
        (2, 2),
        ("2", 2),
        ([0, 3], 2),
        ("0,3", 2),
        ("0,", 1),
        ("auto", 4),
        (-1, 4),
        ("-1", 4),
    ]:
        assert num_processes(devices, CUDA) == number
    assert num_processes("auto", torch.device("cpu")) == 1
