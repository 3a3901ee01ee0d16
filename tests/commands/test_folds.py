"""What makes a cross-validation the one that was begun."""

import pytest
from hydra import compose, initialize_config_dir

from uniseg.commands import schema
from uniseg.commands.folds import recorded_settings
from uniseg.environment import CONF_DIR


def recorded(*overrides):
    schema.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("crossval", ["experiment=demo", *overrides])
        return recorded_settings(config, [])


@pytest.mark.parametrize(
    "machine", [["trainer=ddp"], ["+trainer.strategy=ddp"], ["data.num_workers=1"], ["trainer.accelerator=gpu"]]
)
def test_the_machine_may_change(machine):
    assert recorded(*machine) == recorded()


@pytest.mark.parametrize("change", [["callbacks=ema"], ["optimizer.lr=0.5"], ["finetune=layer_decay"]])
def test_what_makes_other_weights_may_not(change):
    assert recorded(*change) != recorded()


def test_without_an_average_the_record_is_that_of_earlier_versions():
    assert not [key for key in recorded() if key.startswith("callbacks")]


def test_two_averages_are_two_cross_validations():
    assert recorded("callbacks=ema") != recorded("callbacks=ema", "callbacks.average.decay=0.5")
