"""What the documents tell a user to type is right: commands compose, task files are task files, Python runs."""

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

import uniseg
from samples import save_nifti, small_model
from uniseg import Task, TaskSet, save_model
from uniseg.commands import local_conf, schema
from uniseg.commands.app import COMMANDS
from uniseg.commands.arguments import readable_arguments
from uniseg.commands.builders import sources_of, tasks_of
from uniseg.datasets.source import make_task
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.weights.checkpoint import KEY, describe_model
from uniseg.weights.foreign.published_tasks import published_tasks
from uniseg.weights.foreign.write_published import write_published

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*/README.md")])
MOST_LINES = 120  # of the README
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(rf"(?:python -m uniseg\.|(?:^|`|srun )uniseg )({'|'.join(COMMANDS)})\b(?! --help)([^`\n]*)")
PLACEHOLDERS = {
    r"\[(<name>|\.\.\.)\]": "[liver]",
    r"<[^>]*>": "x",
    r"=\.\.\.": "=x",
    r"\.\.\.": "",
    r"\$sweep": "-m",
    r"\$SLURM_ARRAY_TASK_ID": "0",
}
TASK_FILE = "# @package tasks.my_task\nmodalities: [CT]\nclasses: [background, thing]\nspacing_mm: [3, 1.5, 1.5]\n"
TASK_FILE += "normalization: {CT: {mode: zscore}}\nsource: {layout: nnunet, root: data}\n"
DATASET_FILE = TASK_FILE.partition("\n")[2].replace("classes: [background, thing]\n", "")
DATASET_FILE += "tasks: {abdomen_liver: [liver], abdomen_kidneys: [kidney]}\n"
PLANNED = "# @package _global_\ndefaults:\n  - override /task: [liver]\nname: planned\n"


class Block(NamedTuple):
    """Fenced code: where it begins, its language, its lines."""

    where: str
    language: str
    text: str


def blocks():
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            line = text[: found.start()].count("\n") + 1
            yield Block(f"{page.relative_to(ROOT)}:{line}", found[1], found[2])


BLOCKS = list(blocks())


def _commands():
    """(where, entry point, arguments) of every command in pages and in the heads of the roots' YAML files."""
    for page in [*PAGES, *sorted(CONF_DIR.glob("*.yaml"))]:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for found in COMMAND.finditer(line):
                if page.suffix == ".md" or line.startswith("# python"):
                    text = re.split(r" {3,}|, then |,$| (?:\||;|&&) |; do\b", found[2])[0]
                    yield pytest.param(found[1], text, id=f"{page.name}:{number} {found[1]}{text}"[:90])


EXAMPLES = list(_commands())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples take for granted: a task of one's own, an earlier plan, a trained model, scans."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "conf/task").mkdir(parents=True)
    (folder / "conf/experiment").mkdir()
    (folder / "conf/dataset").mkdir()
    (folder / "conf/dataset/abdomen.yaml").write_text(DATASET_FILE)
    for name in ("my_task", "abdomenmr", "liver_dicom", "sarcoma_ct_pet"):
        (folder / f"conf/task/{name}.yaml").write_text(TASK_FILE.replace("my_task", name))
    (folder / "conf/experiment/planned.yaml").write_text(PLANNED)
    model = small_model(TaskSet([ct_task("phantom_liver"), ct_task("phantom_spleen")]))
    checkpoint = folder / "outputs/demo/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({KEY: describe_model(model, weights) | {"data": {}, "commit": ""}, "state_dict": weights}, checkpoint)
    rng = np.random.default_rng(0)
    for name in ("scan.nii.gz", "folder_of_scans/a.nii.gz"):
        save_nifti(folder / name, rng.normal(-500, 500, size=(8, 20, 20)).astype(np.float32).clip(-1000, 1000))
    write_published(small_model(published_tasks()), folder / "model_final_checkpoint.model")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    local_conf.register()
    return folder


def ct_task(name):
    return Task.from_dict(make_task(name, task_values(name)).to_dict() | {"name": name})


def task_values(name):
    return yaml.safe_load((CONF_DIR / f"task/{name}.yaml").read_text())


def test_there_is_something_to_test():
    assert len(BLOCKS) > 12
    assert len(EXAMPLES) > 40
    assert {block.language for block in BLOCKS} <= {"bash", "yaml", "python", "text", "toml", ""}


@pytest.mark.parametrize(("root", "text"), EXAMPLES)
def test_a_command_composes(here, root, text):
    for placeholder, stands_for in PLACEHOLDERS.items():
        text = re.sub(placeholder, stands_for, text)
    arguments = [argument for argument in shlex.split(text, comments=True) if argument not in ("x", "\\")]
    if any(argument.startswith(("hydra/launcher=submitit", "hydra.launcher")) for argument in arguments):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    read = readable_arguments(arguments, schema.text_keys(root))
    overrides = [
        argument for argument in read if not argument.startswith("-") and "hydra" not in argument.partition("=")[0]
    ]
    first = [
        next(each.sweep_string_iterator()) if each.is_sweep_override() else each.get_value_element_as_str()
        for each in parsed(overrides)
    ]
    keys = [argument.partition("=")[0] for argument in overrides]
    given = [f"{key}={value}" for key, value in zip(keys, first, strict=True)]
    if root in ("train", "finetune", "prepare"):
        given.append("run_dir=x")
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            schema.check_settings(compose(root, overrides=given), root)
    except InputError as error:
        pytest.fail(str(error))


def parsed(overrides):
    return OverridesParser.create().parse_overrides(overrides)


@pytest.mark.parametrize("block", [pytest.param(b, id=b.where) for b in BLOCKS if "# @package tasks." in b.text])
def test_a_task_file_is_one(here, block):
    name = re.search(r"# @package tasks\.(\w+)", block.text)[1]
    start = block.text.index("# @package")
    (here / f"conf/task/documented_{name}.yaml").write_text(block.text[start:])
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[f"task=[documented_{name}]", "run_dir=."])
    assert tasks_of(config).names == (name,)


@pytest.mark.parametrize("block", [pytest.param(b, id=b.where) for b in BLOCKS if "# conf/dataset/" in b.text])
def test_a_dataset_file_is_one(here, block):
    (path,) = re.findall(r"# (conf/dataset/\w+\.yaml)", block.text)
    (here / path).write_text(block.text)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[f"dataset=[{Path(path).stem}]", "run_dir=."])
    assert len(tasks_of(config)) >= 2
    assert len({source.root for source in sources_of(config).values()}) == 1


@pytest.mark.parametrize("block", [pytest.param(b, id=b.where) for b in BLOCKS if b.language == "python"])
def test_python_runs(here, block):
    names = {"array": np.zeros((8, 20, 20), np.float32)}
    exec(compile(block.text, block.where, "exec"), names)


def test_the_card_of_a_model_runs(here):
    card = (save_model(small_model(TaskSet([ct_task("phantom_liver")])), here / "my_model") / "README.md").read_text()
    (code,) = [found[2] for found in FENCE.finditer(card) if found[1] == "python"]
    exec(compile(code.replace("<this folder>", "my_model"), "card", "exec"), {})


@pytest.mark.parametrize("block", [pytest.param(b, id=b.where) for b in BLOCKS if b.language == "bash"])
def test_what_else_is_typed_is_there(block):
    """Targets of make, scripts of ours; what a cluster or another package brings is not ours to test."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif words[:1] == ["python"] and words[1] != "-m":
            places = (ROOT / words[1], ROOT / block.where.partition(":")[0].replace("README.md", words[1]))
            # beside a graph, from a service
            handed = [ROOT / "src/uniseg" / room / Path(words[1]).name for room in ("artefacts", "service")]
            assert any(place.is_file() for place in (*places, *handed)), line


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


def test_files_that_the_architecture_names_are_there():
    text = (ROOT / "docs/architecture.md").read_text()
    names = re.findall(r"`((?:\w+/)*\w+\.(?:py|yaml)|\w+/(?:\w+/)+)`", text)
    assert len(names) > 15
    places = (ROOT, ROOT / "src/uniseg")
    assert [name for name in names if not any((place / name).exists() for place in places)] == []
    rooms = {path.name for path in (ROOT / "src/uniseg").iterdir() if (path / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []


def test_the_site_is_built_without_a_warning(tmp_path):
    """Links, navigation, every name of the Python API."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "No issues found" in output
    assert "griffe" not in output
    pages = {path.stem for path in (tmp_path / "outputs/site").glob("*.html")} - {"404"}
    assert pages == {path.stem for path in ROOT.glob("docs/*.md")}, "each page is in the navigation"
    assert "from_pretrained" in (tmp_path / "outputs/site/api.html").read_text()


def test_examples_of_docstrings_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    modules = [
        name for _, name, _ in pkgutil.walk_packages(uniseg.__path__, "uniseg.") if not name.endswith("__main__")
    ]
    found = [
        test
        for name in modules
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
        if test.examples
    ]
    assert found
    for test in found:
        output = []
        assert not doctest.DocTestRunner().run(test, out=output.append).failed, "".join(output)


def public_classes():
    """(file and name, docstring) of every class without a leading underscore."""
    folder = Path(uniseg.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield f"{path.relative_to(folder)}: {node.name}", ast.get_docstring(node) or ""


def test_every_public_class_has_an_example():
    classes = dict(public_classes())
    assert len(classes) > 100
    assert [name for name, text in classes.items() if ">>> " not in text] == []
