"""Datasets and tables from strangers: ``dataset.json``, manifests, splits, task files, labels."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import yaml

from field.base import SETTINGS, TASK
from field.inputs.balls import read, save
from field.mutate import HOSTILE, damage_bytes, damage_values
from field.trial import Command, Trial
from field.world import World

NUMBER = 8
ROOT = "raw/Dataset901_Plain"
ENCODINGS = ("utf-16", "cp1252", "utf-8-sig", "latin-1", "utf-32")


def make(world: World, scratch: Path, rng: Random) -> Trial:
    shutil.copytree(world.base.dataset, scratch / ROOT)
    change, commands = rng.choice(DAMAGES)(world, scratch, rng)
    return Trial(change, commands, outputs=("conf", "outputs", "out"), env={"SECRET": "hunter2"})


def _prepare(*more: str) -> Command:
    return ("prepare", f"task=[{TASK}]", *SETTINGS, "num_workers=1", *more)


IMPORT: Command = ("prepare", "import=raw")


def _own_task(world: World, scratch: Path) -> Path:
    """The imported task file, of the copied dataset."""
    path = scratch / f"conf/task/{TASK}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text((world.base.folder / f"conf/task/{TASK}.yaml").read_text().replace(str(world.base.dataset), ROOT))
    return path


def _description(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    path = scratch / ROOT / "dataset.json"
    values = json.loads(path.read_text()) | {"licence": "CC BY 4.0", "reference": "nowhere", "name": "plain"}
    if rng.random() < 0.3:
        cases = [f"case_{k:03d}" for k in range(NUMBER)]
        values["dataset"] = {
            case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"labelsTr/{case}.nii.gz"} for case in cases
        }
    change, changed = damage_values(values, rng)
    path.write_text(json.dumps(changed))
    return f"dataset.json: {change}", (IMPORT, _prepare())


def _description_bytes(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    path = scratch / ROOT / "dataset.json"
    change, content = damage_bytes(path.read_bytes(), rng)
    if rng.random() < 0.3:
        change, content = rng.choice(
            (
                ("nested", b"[" * 100_000),
                ("a list", b"[]"),
                ("null", b"null"),
                ("utf-16", path.read_text().encode("utf-16")),
            )
        )
    path.write_bytes(content)
    return f"dataset.json: {change}", (IMPORT, _prepare())


def _folder_name(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    name = rng.choice(
        (
            "Dataset001_",
            "Dataset002_ä ö",
            "Dataset003_${oc.env:SECRET}",
            "Dataset004_task.json",
            "Dataset005_[x]",
            "Dataset006_merged",
            "123",
            "Dataset7_con",
        )
    )
    (scratch / ROOT).rename(scratch / "raw" / name)
    return f"folder {name}", (IMPORT,)


def _files(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    """Images or labels missing, doubled, renamed, emptied."""
    _own_task(world, scratch)
    folder = scratch / ROOT / rng.choice(("imagesTr", "labelsTr"))
    path = rng.choice(sorted(folder.iterdir()))
    kind = rng.choice(
        (
            "removed",
            "doubled",
            "renamed",
            "emptied",
            "a folder",
            "all gone",
            "a link to nothing",
            "capital",
            "moved out",
        )
    )
    if kind == "doubled":
        shutil.copy(path, path.with_name(path.name.replace(".nii.gz", ".nii")))
    elif kind == "renamed":
        path.rename(
            path.with_name(
                rng.choice(("x.nii.gz", "case_001_0001.nii.gz", "a b.nii.gz", "ä.nii.gz", "${x}.nii.gz", "-.nii.gz"))
            )
        )
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "capital":
        path.rename(path.with_name(path.name.upper()))
    elif kind == "all gone":
        shutil.rmtree(folder)
    else:
        path.unlink()
        if kind == "a folder":
            path.mkdir()
        elif kind == "a link to nothing":
            path.symlink_to("nothing")
    return f"{folder.name}/{path.name} {kind}", (_prepare(),)


def _labels(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    """Foreign values, other shapes, other types; in a training set, or of another tool's predictions."""
    path = _own_task(world, scratch).parents[2] / ROOT / f"labelsTr/case_{rng.randrange(NUMBER):03d}.nii.gz"
    label = read(path)
    arrays: dict[str, Callable[[], np.ndarray]] = {
        "value 2": lambda: label * 2,
        "value 255": lambda: label * np.uint8(255),
        "negative": lambda: label.astype(np.int16) * -1,
        "fraction": lambda: label * np.float32(0.5),
        "nan": lambda: np.where(label > 0, np.nan, label.astype(np.float32)),
        "huge": lambda: label * np.float64(1e12),
        "other shape": lambda: label[:-1],
        "4-D": lambda: np.stack([label, label], -1),
        "singleton": lambda: label[..., None],
        "empty": lambda: label * np.uint8(0),
        "full": lambda: np.ones_like(label),
    }
    name = rng.choice([*arrays])
    save(path, arrays[name]())
    if rng.random() < 0.5:
        return f"label {name}", (_prepare(),)
    given = (f"predictions={scratch / ROOT}/labelsTr", f"labels={world.base.dataset}/labelsTr")
    given = (
        given
        if rng.random() < 0.5
        else (given[0].replace("predictions", "labels"), given[1].replace("labels=", "predictions="))
    )
    return f"label {name}, scored", (("evaluate", *given, f"task=[{TASK}]", "output=out"),)


def _manifest(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    root = scratch / ROOT
    rows = [["case", "CT", "label", "patient", "split"]]
    for k in range(NUMBER):
        split = ("train", "train", "train", "train", "val", "val", "test", "test")[k]
        rows.append(
            [f"case_{k:03d}", f"imagesTr/case_{k:03d}_0000.nii.gz", f"labelsTr/case_{k:03d}.nii.gz", f"p{k}", split]
        )
    given = [f"tasks.{TASK}.source.layout=manifest", f"tasks.{TASK}.source.root={ROOT}"]
    _own_task(world, scratch)
    if rng.random() < 0.3:
        table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        change, changed = damage_values(table, rng)
        text = (
            yaml.safe_dump(changed)
            if rng.random() < 0.8
            else yaml.safe_dump(table) + rng.choice(("\t- x", "&a [*a]", "!!python/object:os.system {}", "- {", "\0"))
        )
        (root / "manifest.yaml").write_text(text)
        return f"manifest.yaml: {change}", (_prepare(*given),)
    change, changed = damage_values(rows, rng)
    buffer = io.StringIO()
    changed = [row if isinstance(row, list) else [row] for row in changed] if isinstance(changed, list) else [[changed]]
    csv.writer(buffer, delimiter=rng.choice(",,,,,,,;\t"), lineterminator=rng.choice(("\n", "\r\n", "\r"))).writerows(
        changed
    )
    content = buffer.getvalue().encode(errors="replace")
    if rng.random() < 0.2:
        encoding = rng.choice(ENCODINGS)
        change, content = f"{change}, {encoding}", buffer.getvalue().encode(encoding, errors="replace")
    elif rng.random() < 0.2:
        change, content = damage_bytes(content, rng)
    (root / "manifest.csv").write_bytes(content)
    return f"manifest.csv: {change}", (_prepare(*given),)


def _splits(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    cases = [f"case_{k:03d}" for k in range(NUMBER)]
    forms = (
        {"train": cases[:4], "val": cases[4:6], "test": cases[6:]},
        {"train": {"case_{:03d}": "0-3"}, "val": {"case_{:03d}": "4 5"}, "test": cases[6:]},
        [{"train": [c for i, c in enumerate(cases) if i % 4 != k], "val": cases[k::4]} for k in range(4)],
        {"a": {"train": cases[:6], "test": cases[6:]}},
    )
    form = rng.choice(forms)
    change, changed = damage_values(
        form,
        rng,
        (*HOSTILE, "0-99999999999", "5-1", "{:999999999d}", "{0.__class__}", "0-3 x", "case_000", cases, cases[:1]),
    )
    path = scratch / "splits.json"
    path.write_text(json.dumps(changed))
    if rng.random() < 0.2:
        change, content = damage_bytes(path.read_bytes(), rng)
        path.write_bytes(content)
    _own_task(world, scratch)
    key = rng.choice(("", "", "#a", "#b"))
    return f"splits: {change}", (_prepare(f"tasks.{TASK}.source.splits='splits.json{key}'"),)


def _task_file(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    path = _own_task(world, scratch)
    text = path.read_text()
    kind = rng.choice(("values", "values", "values", "bytes", "syntax", "package"))
    if kind == "values":
        values = yaml.safe_load(text)
        more = {"regions": {}, "optional": [], "reference": None}
        values["source"] |= {
            "label_map": {},
            "ignore": None,
            "absent": [],
            "patient_pattern": None,
            "cases_per_patient": 1,
            "licence": "none",
        }
        change, changed = damage_values(values | more, rng)
        path.write_text(f"# @package tasks.{TASK}\n{yaml.safe_dump(changed)}")
    elif kind == "bytes":
        change, content = damage_bytes(text.encode(), rng)
        path.write_bytes(content)
    elif kind == "syntax":
        change = rng.choice(
            (
                "\tx: 1",
                "a: [",
                "a: b: c",
                "*x",
                "!!python/object:os.system {}",
                "classes: [a]",
                "? [",
                "%YAML 9",
                "{",
                "'",
            )
        )
        path.write_text(f"{text}\n{change}\n")
    else:
        change = rng.choice(("_global_", "hydra", "tasks", "tasks.other", "", "x y", "${x}"))
        path.write_text(text.replace(f"tasks.{TASK}", change, 1))
    prepared = _prepare()
    return f"task file, {kind}: {change}", ((prepared,) if rng.random() < 0.8 else (("train", *prepared[1:-1]),))


def _twins(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    """One name for several things."""
    kind = rng.choice(("dataset", "case", "patient"))
    if kind == "dataset":
        shutil.copytree(scratch / ROOT, scratch / "raw/Task01_plain")
        return "two datasets of one name", (IMPORT,)
    _own_task(world, scratch)
    if kind == "case":
        shutil.copy(scratch / ROOT / "imagesTr/case_000_0000.nii.gz", scratch / ROOT / "imagesTr/case_001_0000.nii.gz")
        return "one scan as two cases", (_prepare(),)
    pattern = rng.choice(("'(\\d)'", "'case'", "'('", "'(x)?case'", "'()'", "5", "'(?P<a>.)(.)'"))
    return f"patient_pattern={pattern}", (_prepare(f"tasks.{TASK}.source.patient_pattern={pattern}"),)


def _pool(world: World, scratch: Path, rng: Random) -> tuple[str, tuple[Command, ...]]:
    """Our own JSON and CSV, mutated by somebody."""
    run = scratch / "outputs/base"
    shutil.copytree(world.base.folder / "outputs/base", run)
    path = rng.choice(
        sorted(path for path in run.rglob("*") if path.suffix in (".json", ".csv", ".npz", ".yaml") and path.is_file())
    )
    change, content = damage_bytes(path.read_bytes(), rng)
    if path.suffix == ".json" and rng.random() < 0.7:
        change, changed = damage_values(json.loads(path.read_bytes()), rng)
        content = json.dumps(changed).encode()
    path.write_bytes(content)
    uses = [("report", "run=outputs/base"), ("report", f"runs=[outputs/base,{world.base.folder}/outputs/base]")]
    if "evaluation" in str(path):
        (run / "evaluation").rename(run / "evaluation_val")
        uses = [
            *uses[1:],
            ("evaluate", "pool=[outputs/base]", "output=out"),
            (
                "export",
                f"checkpoint={world.base.checkpoint}",
                "output=out/e",
                "scores=outputs/base/evaluation_val/metrics.json",
            ),
        ]
    return f"{path.relative_to(run)}: {change}", (rng.choice(uses),)


DAMAGES = (
    _description,
    _description,
    _description,
    _description_bytes,
    _folder_name,
    _files,
    _labels,
    _manifest,
    _manifest,
    _splits,
    _splits,
    _task_file,
    _task_file,
    _twins,
    _pool,
    _pool,
)
