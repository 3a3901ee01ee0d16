"""Old names are read as today's, with one sentence each."""

import pytest

from uniseg import renamed
from uniseg.renamed import Renamer, renamed_config, renamed_settings


@pytest.fixture(autouse=True)
def _table(monkeypatch):
    """One row of each kind, whatever the table holds today."""
    monkeypatch.setattr(
        renamed,
        "KEYS",
        {"strategy": "finetune", "side": "split", "speed.leaner": "speed.recompute", "tasks.*.old": "tasks.*.new"}
        | {"plan_width": "plan.width", "gone": None},
    )
    monkeypatch.setattr(renamed, "VALUES", {"split": {"dev": "val"}, "finetune": {"all": "full"}})
    monkeypatch.setattr(renamed, "MODULES", {"uniseg.stream.": "uniseg.sampling."})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("strategy=prompt_only", "finetune=prompt_only"),
        ("strategy=full,all", "finetune=full,full"),
        ("strategy.layer_decay=0.7", "finetune.layer_decay=0.7"),
        ("+strategy.x=1", "+finetune.x=1"),
        ("++strategy.x=1", "++finetune.x=1"),
        ("~strategy", "~finetune"),
        ("strategy@here=full", "finetune@here=full"),
        ("side=dev", "split=val"),
        ("side=[dev,test]", "split=[val,test]"),
        ("split=dev", "split=val"),
        ("name=dev", "name=dev"),
        ("speed.leaner=true", "speed.recompute=true"),
        ("tasks.liver.old=1", "tasks.liver.new=1"),
        ("plan_width=[1,2]", "plan.width=[1,2]"),
        ("gone=1", None),
        ("name=a/${strategy.x}/${oc.select:strategy.y,b}/$x", "name=a/${finetune.x}/${oc.select:finetune.y,b}/$x"),
        ("augment._target_=uniseg.stream.augment.Recipe", "augment._target_=uniseg.sampling.augment.Recipe"),
        ("trainer.strategy=ddp", "trainer.strategy=ddp"),
        ("name=strategy", "name=strategy"),
        ("model/encoder=unet", "model/encoder=unet"),
        ("--strategy", "--strategy"),
        ("input='a b=c.nii'", "input='a b=c.nii'"),
    ],
)  # fmt: skip
def test_an_argument(old, new):
    renamer = Renamer()
    assert renamer.argument(old) == new
    assert bool(renamer.notes) == (old != new)


def test_each_old_name_is_reported_once():
    renamer = Renamer()
    for argument in ("strategy=full", "strategy.layer_decay=1", "side=dev", "gone=1"):
        renamer.argument(argument)
    assert renamer.notes == [
        "'strategy' is called 'finetune' now",
        "'side' is called 'split' now",
        "'split=dev' is called 'split=val' now",
        "'gone' has no effect any more",
    ]


def test_a_configuration():
    old = {
        "name": "strategy",
        "strategy": {"name": "all", "extend": False},
        "side": "dev",
        "run_dir": "x/${strategy.name}",
        "speed": {"leaner": True, "compile": False},
        "tasks": {"liver": {"old": {1: 2}, "empty": {}, "cases": {"a.b": "c"}}},
        "plan_width": [1, 2],
        "gone": 3,
        "callbacks": [{"_target_": "uniseg.stream.X"}, None],
    }
    assert renamed_config(old) == {
        "name": "strategy",
        "finetune": {"name": "all", "extend": False},
        "split": "val",
        "run_dir": "x/${finetune.name}",
        "speed": {"recompute": True, "compile": False},
        "tasks": {"liver": {"new": {1: 2}, "empty": {}, "cases": {"a.b": "c"}}},
        "plan": {"width": [1, 2]},
        "callbacks": [{"_target_": "uniseg.sampling.X"}, None],
    }


def test_the_file_of_a_group():
    """Its keys lie below the package of the file."""
    renamer = Renamer()
    assert renamer.config({"leaner": True, "strategy": 1}, "speed") == {"recompute": True, "strategy": 1}
    assert renamer.config({"extend": True}, "strategy") == {"extend": True}
    assert renamer.notes == ["'speed.leaner' is called 'speed.recompute' now"]


def test_a_defaults_list():
    given = {"override /strategy": "full", "/strategy@x": "full", "strategy": "all", "optional task": [1]}
    expected = {"override /finetune": "full", "/finetune@x": "full", "finetune": "full", "optional task": [1]}
    one_each = ["demo", *({key: value} for key, value in given.items())]
    assert Renamer().defaults(one_each) == ["demo", *({key: value} for key, value in expected.items())]


def test_settings_of_a_record():
    settings = {"strategy.layer_decay": 1, "gone": 2, "seed": 3, "augment._target_": "uniseg.stream.X", "side": ["dev"]}
    assert renamed_settings(settings) == {
        "finetune.layer_decay": 1, "seed": 3, "augment._target_": "uniseg.sampling.X", "split": ["val"],
    }  # fmt: skip
