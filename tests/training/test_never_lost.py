"""A run stopped or killed anywhere ends as the one that was not."""

import os
import re
import signal

import pytest
import torch
from lightning import Callback

from probes import SignalAt
from small_runs import EPOCHS, STEPS_PER_EPOCH, VAL_STEPS, small_run
from uniseg.training.callbacks.checkpoint_and_exit import Stopped
from uniseg.training.logs import truncate_log

EVENTS = EPOCHS * (STEPS_PER_EPOCH + VAL_STEPS)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended"),
]


@pytest.fixture(autouse=True)
def _handlers():
    """A stopped run keeps its handlers until the process ends."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Saved after every second step."""
    return small_run(tmp_path_factory.mktemp("whole"), every_n_train_steps=2).fit()


def assert_same_end(run, whole):
    assert all(torch.equal(value, whole.module.state_dict()[name]) for name, value in run.module.state_dict().items())
    rows = [log.read_text().splitlines() for log in (run.log, whole.log)]
    assert list(dict.fromkeys(rows[0])) == rows[1]  # a validation done twice has equal rows


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("event", range(EVENTS - 1))
def test_stopped_in_any_step(event, number, tmp_path, whole):
    with pytest.raises(Stopped) as stopped:
        small_run(tmp_path, SignalAt(event, number)).fit()
    assert stopped.value.code == 128 + number
    last = tmp_path / "last.ckpt"
    steps_done = event // (STEPS_PER_EPOCH + VAL_STEPS) * STEPS_PER_EPOCH + min(
        event % (STEPS_PER_EPOCH + VAL_STEPS) + 1, STEPS_PER_EPOCH
    )
    assert torch.load(last, weights_only=True)["global_step"] == steps_done
    again = small_run(tmp_path)
    truncate_log(again.trainer.logger, steps_done)
    assert_same_end(again.fit(last), whole)


def test_files_come_in_time(whole):
    """After steps 2, 4 (before the validation, at the end of the epoch), 6, ..."""
    steps = [torch.load(path, weights_only=True)["global_step"] for path in whole.copies.paths]
    assert steps == [2, 4, 4, 6, 8, 8, 10, 12, 12]


@pytest.mark.parametrize("number", range(9))
def test_killed_after_any_file(number, tmp_path, whole):
    again = small_run(tmp_path)
    again.log.parent.mkdir()
    again.log.write_text(whole.log.read_text())
    path = whole.copies.paths[number]
    truncate_log(again.trainer.logger, torch.load(path, weights_only=True)["global_step"])
    assert_same_end(again.fit(path), whole)


def test_without_validation(tmp_path):
    whole = small_run(tmp_path / "a", every_n_train_steps=2, limit_val_batches=0).fit()
    assert len(whole.copies.paths) == 6
    for number, path in enumerate(whole.copies.paths):
        again = small_run(tmp_path / str(number), limit_val_batches=0).fit(path)
        assert torch.equal(again.module.layer.weight, whole.module.layer.weight)


def test_a_second_signal_changes_nothing(tmp_path):
    class Again(SignalAt):
        def on_save_checkpoint(self, *_) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped) as stopped:
        small_run(tmp_path, Again(5, signal.SIGTERM)).fit()
    assert stopped.value.code == 143
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


def test_weights_that_are_no_numbers_never_replace_a_file(tmp_path):
    class Spoil(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.global_step == 5:
                pl_module.layer.weight.data.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="step 6"):
        small_run(tmp_path, Spoil(), every_n_train_steps=2).fit()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (3, ["Epoch 1 2/4", "Epoch 1 3/4", "Epoch 1 4/4", "Epoch 2 0/4"]),
        (4, ["Epoch 1 4/4", "Epoch 2 0/4", "Epoch 2 1/4"]),
        (5, ["Epoch 2 0/4", "Epoch 2 1/4"]),
    ],
)
def test_the_bar_goes_on_where_the_run_does(number, shown, tmp_path, whole, capsys):
    small_run(tmp_path, refresh_rate=1).fit(whole.copies.paths[number])
    bars = re.findall(r"(Epoch \d):[^|]*\|[^|]*\| (\d/\d)", capsys.readouterr().out)
    seen = list(dict.fromkeys(f"{epoch} {done}" for epoch, done in bars))
    assert seen[seen.index(shown[0]) :][: len(shown)] == shown
    assert [bar for bar in seen[: seen.index(shown[0])] if not bar.endswith("0/4")] == []
