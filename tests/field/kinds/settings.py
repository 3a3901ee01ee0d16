"""Every setting of every command with values that it was not made for; keys that are not there; odd names."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from field.base import SETTINGS, TASK
from field.trial import Command, Trial
from field.world import World
from uniseg.commands import schema
from uniseg.environment import CONF_DIR

NUMBERS = (
    "-1", "0", "1", "2", "3", "7", "0.5", "-0.5", "1.5", "nan", "inf", "-inf", "1e9", "-1e9", "1e-9",
    "100000000000000000000", "null", "text", "true", "[1]",
)  # fmt: skip
LISTS = (
    "[]", "[1]", "[1,2]", "[1,2,3]", "[3,3,3]", "[0,0,0]", "[-1,0,1]", "[-8,32,32]", "[16,32,33]", "[16,32]",
    "[1,1,1]", "[1000,1000,1000]", "[0]", "[3]", "[-1]", "[0,0]", "[1,1]", "[nan,1]", "[2,1]", "[a,b]", "[[1]]",
    "[null]", "[1.5,2.5,3.5]", "null", "1", "text",
)  # fmt: skip
WORDS = (
    "text", "''", "null", "1", "-1", "1e3", "[]", "[a,b]", "{}", "{a:1}", "true", "'1'", "'a b'", "'${x}'",
    "'${oc.env:HOME}'", "???", "'[/x]'", "ä", "None", "'*'", "auto", "cpu", "cuda", "64", "32-true", "16-true",
    "16-mixed", "bf16-true", "transformer-engine",
)  # fmt: skip
LARGE = ("1e9", "100000000000000000000", "inf", "[1000,1000,1000]")
# large ones are meant
COUNTS = (
    "num_workers",
    "devices",
    "max_epochs",
    "steps_per_epoch",
    "val_steps",
    "num_cases",
    "num_nodes",
    "heads_first_steps",
)
PLACES = (
    "paths",
    "run_dir",
    "output",
    "dirpath",
    "save_dir",
    "root",
    "checkpoint",
    "task_files",
    "input",
    "predictions",
    "labels",
    "run",
    "runs",
    "sweep",
)
GROUPS = (
    "model",
    "optimizer",
    "augment",
    "task",
    "experiment",
    "trainer",
    "logger",
    "init",
    "finetune",
    "speed",
    "data",
    "phantom",
    "hydra/launcher",
)
UNKNOWN = (
    "nothing=1", "+nothing=1", "++a.b.c=1", "data.patchsize=[8,8,8]", "~data", "~trainer.max_epochs", "=1", "data=",
    "tasks=1", "x", "--nothing", "-", "a=b=c", "+a={", "data.fold=", "'a b'=1", "ä=1", "inference=[1]",
    "model.encoder=1", "hydra.run.dir=out/[x]", "--cfg=job", "--help", "--info=nothing", "hydra.job.chdir=true",
)  # fmt: skip
ABSURD = {  # command -> settings that no run can mean
    "train": (
        "data.steps_per_epoch=0", "data.steps_per_epoch=-1", "data.batch_size=0", "data.batch_size=-2",
        "data.patch_size=[0,32,32]", "data.patch_size=[-16,32,32]", "data.patch_size=[16,32]",
        "data.patch_size=[17,32,32]", "data.patch_size=[100000,100000,100000]", "data.foreground_fraction=1.5",
        "data.foreground_fraction=nan", "data.fold=-1", "data.fold=99", "data.tasks_per_batch=0",
        "data.tasks_per_batch=-1", "data.num_patients=0", "data.num_patients=-1", "data.num_workers=-1",
        "data.task_weights={plain:-1}", "data.task_weights={plain:0}", "data.task_weights=0", "data.task_weights=nan",
        "data.val_steps=-1", "optimizer.lr=nan", "optimizer.lr=-1", "optimizer.lr=inf", "trainer.devices=2",
        "trainer.devices=0", "trainer.precision=16-true", "trainer.max_epochs=-5", "trainer.gradient_clip_val=-1",
        "augment.mirror_axes=[3]", "augment.mirror_axes=[-1]", "augment.p_rotation=2", "augment.p_rotation=-1",
        "augment.p_noise=nan", "model.encoder.channels=[0,8,8,8]", "model.encoder.channels=[4,8,8,-8]",
        "model.encoder.channels=[4]", "model.encoder.channels=[10000000,8,8,8]", "seed=-1",
        "callbacks.checkpoint.every_n_minutes=-1", "finetune.layer_decay=-1", "finetune.layer_decay=0",
        "finetune.adapter_channels=-1", "finetune.heads_first_steps=-1",
    ),
    "finetune": (
        "finetune.sawtooth=[0.2,0.1,0.3]", "finetune.sawtooth=[0.1,0.2]", "finetune.sawtooth=[0,0.5,2]",
        "finetune.warmup=-0.1", "finetune.warmup=nan", "finetune.exponent=-1", "finetune.schedule=square",
        "finetune.transfer=decoder", "num_patients=0", "control=perhaps", "plan=theirs", "network=none", "base=nothing",
    ),
    "predict": (
        "inference.overlap=1", "inference.overlap=1.5", "inference.overlap=-0.1", "inference.overlap=nan",
        "inference.window_batch=0", "inference.window_batch=-1", "inference.mirror_axes=[3]",
        "inference.mirror_axes=[-1]", "inference.max_memory_gb=0", "inference.max_memory_gb=-1",
        "inference.max_memory_gb=nan", "inference.device=nothing", "inference.device=cuda:99", "tasks=[]",
        "checkpoint=[]", "modality=[]",
    ),
    "prepare": (
        "num_workers=0", "tasks.plain.spacing_mm=[0,1,1]", "tasks.plain.spacing_mm=[1e9,1e9,1e9]",
        "tasks.plain.spacing_mm=[1e-9,1,1]",
    ),
    "plan": (
        "gpu_memory_gb=0", "gpu_memory_gb=-1", "gpu_memory_gb=nan", "plan_width=[0,0]", "plan_width=[320,32]",
        "plan_width=[32]", "plan_share_within=0", "plan_share_within=nan", "plan_spacing=nothing",
        "plan_precision=nothing",
    ),
    "evaluate": (
        "rules.tolerance_mm=-1", "rules.tolerance_mm=nan", "rules.lesion_overlap=2", "rules.lesion_overlap=-1",
        "split=train", "data.fold=99",
    ),
    "compare": ("metric=nothing", "margin=nan", "margin=-1"),
}  # fmt: skip


def make(world: World, scratch: Path, rng: Random) -> Trial:
    world.start(scratch)
    commands = _commands(world)
    way = rng.random()
    if way < 0.3:
        kind = rng.choice([kind for kind, absurd in ABSURD.items() for _ in absurd])
        chosen = rng.choice(ABSURD[kind])
        return Trial(f"{kind}: {chosen}", ((*commands[kind][0], chosen),), must_refuse=True, adds_anywhere=True)
    kind = rng.choice([*commands])
    command, root = commands[kind]
    if way < 0.85:
        chosen = [_setting(root, rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    elif way < 0.93:
        chosen = [rng.choice(UNKNOWN)]
    else:
        chosen = [
            f"{rng.choice(GROUPS)}={rng.choice(('nothing', '../x', '[]', 'null', '1', '[a,b]', 'default', 'a b', ''))}"
        ]
    outputs = ("out", "outputs", "conf")
    return Trial(f"{kind}: {' '.join(chosen)}", ((*command, *chosen),), outputs=outputs, adds_anywhere=True)


def _setting(root: str, rng: Random) -> str:
    key, default = rng.choice(keys(root))
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
    fitting = NUMBERS if is_number or default is None else LISTS if isinstance(default, list) else WORDS
    values = fitting if rng.random() < 0.9 else (*NUMBERS, *LISTS, *WORDS)
    values = [value for value in values if not (value in LARGE and key.endswith(COUNTS))]
    if any(part in PLACES for part in key.split(".")):
        values = [
            "nothing",
            "null",
            "''",
            "[]",
            "[a,b]",
            "-1",
            "1e3",
            "conf",
            "out/a/b/c",
            "'a b'",
            "'${x}'",
            "ä",
            "???",
            "conf/task/plain.yaml",
        ]
    return f"{key}={rng.choice(values)}"


@cache
def keys(root: str) -> tuple[tuple[str, object], ...]:
    """Every setting of a command with its default; those of a task under the name of ours."""
    schema.register()
    stack = root in ("prepare", "train", "finetune", "crossval", "evaluate")
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = OmegaConf.to_container(
            compose(root, ["task=[phantom_liver]", "phantom=default"] if stack else []), resolve=False
        )
    found = [(name.replace("phantom_liver", TASK), value) for name, value in _leaves(config)]
    return tuple(
        (name, value)
        for name, value in found
        if not name.endswith(("_target_", "_partial_")) and not name.startswith("phantom")
    )


def _leaves(values: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _commands(world: World) -> dict[str, tuple[Command, str]]:
    base = world.base.folder
    stack = (
        f"task=[{TASK}]",
        *SETTINGS,
        f"paths.cache={base}/outputs/cache",
        "paths.outputs=out",
        "data.steps_per_epoch=2",
        "data.val_steps=1",
    )
    labels = f"{world.base.dataset}/labelsTr"
    return {
        "train": (("train", *stack), "train"),
        "train again": (
            ("train", *stack, "init=checkpoint", f"init.checkpoint={world.base.checkpoint}", "finetune=layer_decay"),
            "train",
        ),
        "finetune": (("finetune", *stack, f"base={world.base.checkpoint}", "control=false"), "finetune"),
        "prepare": (("prepare", *stack, "paths.cache=out/cache", "num_workers=1"), "prepare"),
        "audit": (("prepare", *stack, "audit.only=true", "num_workers=1"), "prepare"),
        "plan": (
            ("prepare", *stack, "plan=true", "plan_output=out/planned.yaml", "gpu_memory_gb=8", "num_workers=1"),
            "prepare",
        ),
        "evaluate": (("evaluate", *stack, f"checkpoint={world.base.checkpoint}"), "evaluate"),
        "evaluate val": (
            ("evaluate", *stack, f"checkpoint={world.base.checkpoint}", "split=val", "postprocessing=choose"),
            "evaluate",
        ),
        "score": (("evaluate", *stack, f"predictions={labels}", f"labels={labels}", "output=out"), "evaluate"),
        "predict": (
            (
                "predict",
                f"checkpoint={world.base.checkpoint}",
                f"input={world.scan}",
                "output=out",
                "modality=[CT]",
                "inference.device=cpu",
            ),
            "predict",
        ),
        "export": (("export", f"checkpoint={world.base.checkpoint}", "output=out"), "export"),
        "report": (("report", f"run={base}/outputs/base", "output=out"), "report"),
        "compare": (("report", f"runs=[{base}/outputs/base,{base}/outputs/base]", "output=out"), "report"),
    }
