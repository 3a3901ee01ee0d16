"""Help, spelling and completion: what a command answers to --help, a mistyped word, the tab key."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from started import PYTHON
from uniseg.commands import completion, doctor, schema
from uniseg.commands.app import COMMANDS, MODULES, TOOLS, run
from uniseg.commands.bounds import settings_of
from uniseg.commands.catalogue import Catalogue, choices_of
from uniseg.commands.suggestions import misspelt

STACK = ["experiment=demo", "init=upstream", "logger=csv"]
WRAPPER = f"#!/bin/sh\nexec {PYTHON} -c 'from uniseg.commands.app import run_and_exit; run_and_exit()' \"$@\"\n"


def lines(capsys, *argv):
    assert run(argv).code == 0
    return capsys.readouterr().out.splitlines()


def test_the_overview_names_every_command(capsys):
    text = "\n".join(lines(capsys, "--help"))
    assert all(f"  {name} " in text for name in [*COMMANDS, *TOOLS])
    assert run(["--version"]).code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_job_examples_keys_with_comments_and_the_groups_it_takes(capsys, command):
    output = lines(capsys, command, "--help")
    assert output[0] == f"uniseg {command}: {COMMANDS[command]}"
    assert output[1].startswith(f"  python -m uniseg.{MODULES.get(command, command)} ")
    takes_tasks = any(line.startswith("  task=") for line in output)
    assert takes_tasks == (command in ("prepare", "train", "finetune", "crossval", "evaluate", "complete"))
    if command == "predict":
        (line,) = [line for line in output if line.startswith("  merge=false")]
        assert line.endswith("One label map per scan in place of one per task: where tasks claim the same voxel,")
        assert any(line.startswith("  checkpoint=???") for line in output)


def test_help_of_a_group_lists_its_choices_and_the_keys_of_the_chosen_one(capsys):
    output = lines(capsys, "train", "optimizer=adamw", "--help")
    assert [line.strip().split("  ")[0] for line in output[:3]] == ["optimizer: one of", "adamw", "sgd"]
    assert "  optimizer.lr=0.003" in output
    assert any(
        line.startswith("  optimizer.fused=null") and line.endswith("one kernel for all tensors.") for line in output
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_the_catalogue_knows_every_key_of_the_schema(command):
    keys = Catalogue(command, STACK if command != "predict" else []).keys
    for setting in settings_of(schema.ROOTS[command]):
        if "*" not in setting.key:
            assert any(key == setting.key or key.startswith(f"{setting.key}.") for key in keys), setting.key


def test_the_catalogue_follows_overrides_of_experiments_bases_and_arguments():
    demo = Catalogue("train", ["experiment=demo", "optimizer=sgd"])
    assert (demo.groups["model/encoder"], demo.groups["optimizer"]) == ("unet_tiny", "sgd")
    assert demo.keys["optimizer.lr"].value == "0.015"
    assert Catalogue("train", ["model=unet_small"]).groups["model/conditioning"] == "none"
    assert "tasks.liver.spacing_mm" in Catalogue("train", ["task=[spleen,liver]"]).keys


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("optimiser.lr=1", "optimizer.lr"),
        ("lr=1", "optimizer.lr"),
        ("optimizer.lrr=1", "optimizer.lr"),
        ("data.batchsize=2", "data.batch_size"),
        ("model.encoder.chanels=[1]", "model.encoder.channels"),
        ("tasks.livr.spacing_mm=[1,1,1]", "tasks.liver.spacing_mm"),
        ("modle=uniseg_small", "model"),
        ("model/encodr=unet", "model/encoder"),
        ("model=uniseg_smal", "uniseg_small"),
        ("task=[liver,splen]", "spleen"),
        ("experiment=dem", "demo"),
        ("~phantm", "phantom"),
    ],
)
def test_the_nearest_right_one_is_named(argument, meant):
    arguments = ["task=[liver]", "inference.overlap=0.5", argument]
    assert str(misspelt("train", arguments)).endswith(f"; did you mean {meant}?")


def test_what_is_right_is_not_corrected():
    right = [
        "experiment=demo",
        "optimizer.lr=1",
        "+trainer.x=1",
        "data={fold: 1}",
        "phantom=null",
        "hydra.run.dir=x",
        "-m",
    ]
    assert misspelt("train", right) is None
    assert str(misspelt("train", ["qqq=1"])).endswith("; uniseg train --help lists them")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "task=[liver]", "optimiser.lr=1"], "did you mean optimizer.lr?"),
        (["train", "task=[liver]", "model=uniseg_smal"], "did you mean uniseg_small?"),
        (["prepare", "task=[liver]", "plan_spacing=givn"], "did you mean given?"),
        (["train"], "give task=[liver,spleen] or experiment=demo"),
        (["train", "task=[liver]", "strategy=full", "lr=1"], "argument 'lr=1'"),
        (["trian"], "did you mean uniseg train?"),
        (["train", "--confg=job"], "--confg=job"),
    ],
)
def test_a_command_that_is_mistyped_ends_in_one_line_with_the_right_word(capsys, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    result = run(argv)
    assert result.code == 2
    assert message in result.line
    assert "+" not in result.line
    assert capsys.readouterr().err == f"{result.line}\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("uniseg exp", {"export "}),
        ("uniseg train optimizer=", {"adamw ", "sgd "}),
        ("uniseg train optim", {"optimizer=", "optimizer."}),
        ("uniseg train optimizer=adamw optimizer.l", {"optimizer.lr="}),
        ("uniseg predict inference.gate", {"inference.gate="}),
        ("uniseg train task=[liver,pros", {"[liver,prostate"}),
        ("uniseg nonsense x", set()),
    ],
)
def test_completion(line, found):
    assert set(completion.complete(COMMANDS, " =:", line)) == found


def test_completion_in_bash(tmp_path):
    (tmp_path / "uniseg").write_text(WRAPPER)
    (tmp_path / "uniseg").chmod(0o755)
    script = (
        'eval "$(uniseg completion bash)"; COMP_LINE="uniseg train model=uniseg_s"; COMP_POINT=${#COMP_LINE};'
        'complete -p uniseg; _uniseg_complete; printf "<%s>" "${COMPREPLY[@]}"'
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == ["complete -o default -o nospace -F _uniseg_complete uniseg", "<uniseg_small >"]
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_process_of_its_own(command, tmp_path):
    """``python -m`` answers --help without torch; what it does besides is tested in this process."""
    module = f"uniseg.{MODULES.get(command, command)}"
    code = f"import runpy, sys; sys.argv = ['x', '--help']; runpy.run_module('{module}', run_name='__main__')"
    probe = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([PYTHON, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines()[0] == f"uniseg {command}: {COMMANDS[command]}"
    assert done.stdout.splitlines()[-1] == "False"


def test_the_doctor_says_what_is_there_and_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNISEG_DATA", str(tmp_path / "scans"))
    (tmp_path / "conf/task").mkdir(parents=True)
    (tmp_path / "conf/task/mine.yaml").write_text("# nothing\n")
    output = lines(capsys, "doctor")
    assert (
        f"! data folder: no {tmp_path}/scans; give paths.data=<folder>, or set UNISEG_DATA; experiment=demo needs none"
        in output
    )
    assert "! own task files: mine describe no task; uniseg prepare task=[...] says why" in output
    assert any(line.startswith("  device: ") for line in output)
    (tmp_path / "scans/a").mkdir(parents=True)
    (tmp_path / "outputs/cache/liver").mkdir(parents=True)
    (tmp_path / "outputs/cache/liver/task.json").write_text("{}")
    output = lines(capsys, "doctor")
    assert f"  data folder: {tmp_path}/scans, 1 folders" in output
    assert f"  cache: {tmp_path}/outputs/cache with liver" in output


def test_the_doctor_looks_into_the_folders_of_the_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/paths").mkdir(parents=True)
    text = "{data: scans, outputs: runs, cache: '${paths.outputs}/prepared', splits: a, phantoms: b}\n"
    (tmp_path / "conf/paths/default.yaml").write_text(text)
    output = lines(capsys, "doctor")
    assert any(line.startswith(f"! data folder: no {tmp_path}/scans; ") for line in output)
    assert any(line.startswith(f"! cache: none in {tmp_path}/runs/prepared; ") for line in output)
    (tmp_path / "conf/paths/default.yaml").write_text(text.replace("scans", "'${oc.env:NOT_SET_ANYWHERE}'"))
    assert any(line.startswith("! folders: ") and "NOT_SET_ANYWHERE" in line for line in lines(capsys, "doctor"))
    (tmp_path / "conf/paths/default.yaml").write_text("{outputs: runs")
    assert "! folders: no paths.data; correct conf/paths/default.yaml" in lines(capsys, "doctor")


def test_a_machine_with_little_memory_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_available_bytes", lambda: 2 * doctor.GB)
    (line,) = [str(each) for each in doctor.findings() if each.what == "memory"]
    assert line.startswith("! memory: 2.0 GB free; lower ")
    assert str(replace(doctor.Finding("a", "b"), advice="c")) == "! a: b; c"


def test_choices_include_those_of_the_folder_where_it_is_started(tmp_path, monkeypatch):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    assert {"mine", "demo"} <= set(choices_of("experiment"))
