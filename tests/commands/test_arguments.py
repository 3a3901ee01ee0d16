"""The command line as a shell gives it."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from uniseg.commands import schema
from uniseg.commands.arguments import readable_arguments
from uniseg.errors import InputError

ODD = (
    "a=1",
    "a(1)",
    "a,b",
    "a#b",
    "Ärzte_ß",
    "a'b",
    "a[1]",
    "a&b",
    "a!b",
    "a~b",
    "a;b",
    'a"b',
    "a{b",
    "epoch=3-step=100",
    "a(1)\\",
)
PLAIN = ("a b", "a%b", "1.2.840.113", "a+b", "a@b", "a|b", "scan", "a:b", "C:\\x", "007")


def read(*arguments, root="predict"):
    return readable_arguments(arguments, schema.text_keys(root))


def value(argument):
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize("name", [f"{name}{ending}" for name in ODD for ending in ("", ".nii.gz")])
@pytest.mark.parametrize("key", ["input", "checkpoint", "output"])
def test_an_odd_name_is_reported_with_the_form_that_works(key, name):
    with pytest.raises(InputError, match="argument") as refusal:
        read(f"{key}={name}")
    assert str(refusal.value).startswith(f"argument '{key}={name}': found ")
    form = str(refusal.value).rsplit("write ", 1)[1].split(" for one name")[0]
    (argument,) = read(*shlex.split(form))
    assert value(argument) == name


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_taken_as_it_is(name):
    (argument,) = read(f"input={name}")
    assert value(argument) == name


def test_odd_names_in_a_list_are_quoted_one_by_one():
    with pytest.raises(InputError) as refusal:
        read("input=[a(1).nii.gz,b.nii.gz]")
    (argument,) = read(*shlex.split(str(refusal.value).rsplit("write ", 1)[1]))
    assert value(argument) == ["a(1).nii.gz", "b.nii.gz"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("input=10023", "10023"),
        ("output=2024_01", "2024_01"),
        ("checkpoint=1e3", "1e3"),
        ("input=true", "true"),
        ("input=[10023,a,2_0]", ["10023", "a", "2_0"]),
        ("tasks=[5, 6]", ["5", "6"]),
        ("postprocessing=null", None),
        ("inference.overlap=0.25", 0.25),
        ('input="7"', "7"),
    ],
)
def test_numbers_are_text_where_text_is_meant(given, expected):
    assert value(read(given)[0]) == expected


def test_the_same_for_tasks_groups_and_splits():
    assert value(read("task=[1,2]", root="train")[0]) == ["1", "2"]
    assert value(read("experiment=2024", root="train")[0]) == "2024"
    assert value(read("tasks.liver.source.splits={train:[1,2],test:[3]}", root="train")[0]) == {
        "train": ["1", "2"],
        "test": ["3"],
    }
    assert value(read("tasks.liver.source.label_map={1:1,2:2}", root="train")[0]) == {1: 1, 2: 2}
    assert value(read("import=2024", root="prepare")[0]) == "2024"


def test_a_group_set_to_null_is_left_out():
    assert read("experiment=demo", "phantom=null", root="train") == ["experiment=demo", "~phantom"]
    with pytest.raises(
        InputError, match="argument 'trainer=null': found null; expected one of ddp, default; choose one"
    ):
        read("trainer=null", root="train")


def test_sweeps_and_flags_pass():
    sweep = [
        "-m",
        "name=1,2",
        "seed=0,1",
        "--config-dir",
        "some folder",
        "--cfg",
        "job",
        "~phantom",
        "+trainer.max_steps=3",
    ]
    assert read(*sweep, root="train") == ["-m", 'name="1","2"', *sweep[2:]]
    with pytest.raises(
        InputError, match=r"""comma outside quotes and brackets; expected one value; write 'name="a,b"'"""
    ):
        read("name=a,b", root="train")


@pytest.mark.parametrize("given", ["scan.nii.gz", "input"])
def test_what_is_no_assignment_is_named(given):
    with pytest.raises(InputError, match=rf"argument '{given}': found no '='; expected key=value"):
        read(given)


def test_an_open_bracket_is_named():
    with pytest.raises(InputError, match=r"argument 'task=\[liver': found .*close its brackets"):
        read("task=[liver", root="train")


def test_old_names_are_read_with_one_line_each(caplog):
    given = ["strategy=prompt_only", "strategy.layer_decay=0.7", "-cn", "strategy=x"]
    assert readable_arguments(given, []) == ["finetune=prompt_only", "finetune.layer_decay=0.7", *given[2:]]
    assert caplog.messages == ["'strategy' is called 'finetune' now."]
