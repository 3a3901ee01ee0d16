"""Settings are checked before any work."""

import copy

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.commands import group_bounds, schema
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

EXPERIMENTS = sorted(path.stem for path in (CONF_DIR / "experiment").glob("*.yaml"))
GIVEN = {
    "train": ["task=[liver]", "+trainer.max_steps=-1", "+trainer.accumulate_grad_batches=1"],
    "train_adamw": ["task=[liver]", "optimizer=adamw", "+optimizer.betas=[0.9,0.99]", "+optimizer.eps=1e-8"],
    "train_resenc": ["task=[liver]", "model/encoder=resenc"],
    "train_segresnet": [
        "task=[liver]",
        "model/encoder=segresnet",
        "model/head=dynamic",
        "model/decoder=nnunet_residual",
    ],
    "train_ddp": ["task=[liver]", "trainer=ddp", "+trainer.max_steps=10"],
    "prepare": ["task=[liver]", "gpu_memory_gb=8", "phantom=default"],
    "evaluate": ["task=[liver]"],
    "predict": ["checkpoint=a", "input=b", "output=c"],
    "serve": ["checkpoint=a"],
    "report": [],
    "export": ["checkpoint=a", "output=b"],
    "info": ["checkpoint=a"],
    "tasks": ["base=a"],
    "import": ["results=a", "output=b"],
    "complete": ["task=[liver]", "teachers=[a]", "output=b"],
    "crossval": ["task=[liver]"],
    "compare": ["runs=[a,b]"],
    "view": ["scan=a", "labels=b"],
}
BAD = {
    "train": """
        seed=-1 seed=1180591620717411303424 seed=a name= data.fold=-1 data.fold=a data.patch_size=[0,0,0]
        data.patch_size=[32,32] data.patch_size=[32,32,32,32] data.patch_size=[-8,32,32] data.patch_size=[]
        data.patch_size=32 data.patch_size=[1e9,1,1] data.batch_size=0 data.batch_size=-2 data.batch_size=2.5
        data.batch_size=1000000000 data.batch_size=null data.steps_per_epoch=0 data.steps_per_epoch=-1
        data.val_steps=0 data.val_steps=-3 data.tasks_per_batch=0 data.tasks_per_batch=5 data.task_weights=0
        data.task_weights=-1 data.task_weights=nan data.task_weights=often data.task_weights={liver:-1}
        data.task_weights={liver:a} data.task_weights=[1,2] data.foreground_fraction=2
        data.foreground_fraction=-0.1 data.foreground_fraction=nan data.num_patients=0 data.num_patients=-1
        data.num_workers=-5 data.num_workers=1000000 data.num_workers=a inference.overlap=1
        inference.overlap=1.5 inference.overlap=-0.1 inference.overlap=nan inference.window_batch=0
        inference.window_batch=-1 inference.mirror_axes=[3] inference.mirror_axes=[-1]
        inference.mirror_axes=[0,0] inference.mirror_axes=[a] inference.max_memory_gb=0
        inference.max_memory_gb=-1 inference.max_memory_gb=nan inference.max_memory_gb=inf
        inference.device=gpu0 inference.device=cuda:x optimizer.lr=0 optimizer.lr=-1 optimizer.lr=nan
        optimizer.lr=inf optimizer.lr=a optimizer.lr=null optimizer.lr=true optimizer.momentum=2
        optimizer.momentum=1 optimizer.momentum=-0.1 optimizer.momentum=0 optimizer.weight_decay=-1
        optimizer.weight_decay=inf scheduler.exponent=-1 scheduler.exponent=nan scheduler.warmup_steps=-1
        scheduler.warmup_steps=1.5 scheduler.hold_steps=0 loss.dice_weight=-1 loss.ce_weight=-1
        loss.ce_weight=nan loss.dice_weight=a trainer.max_epochs=0 trainer.max_epochs=-1 trainer.devices=2
        trainer.devices=[0,1] trainer.max_epochs=-3 trainer.max_epochs=1.5 trainer.max_epochs=null
        trainer.devices=0 trainer.devices=-3 trainer.devices=[] trainer.devices=[0,0] trainer.devices=all
        trainer.accelerator=abacus trainer.precision=16-true trainer.precision=8 trainer.precision=nonsense
        speed.compile=fast speed.fused_norm=1 trainer.benchmark=fast
        trainer.gradient_clip_val=-1 trainer.gradient_clip_val=nan trainer.gradient_clip_val=a
        trainer.max_steps=-2 trainer.accumulate_grad_batches=0 trainer.log_every_n_steps=-1
        trainer.num_sanity_val_steps=-2 finetune.adapter_channels=-1 finetune.adapter_channels=0
        finetune.adapter_channels=1000000000 finetune.heads_first_steps=-1 finetune.layer_decay=0
        finetune.layer_decay=1.1 finetune.layer_decay=-1 finetune.layer_decay=nan finetune.trained=some
        model.encoder.channels=[] model.encoder.channels=[0,8,8,8,8] model.encoder.channels=[8,8]
        model.encoder.channels=[8,8,8,8,1000000000] model.encoder.strides=[[2,2,2]]
        model.encoder.strides=[[0,2,2],[2,2,2],[2,2,2],[2,2,2]] model.encoder.strides=2
        model.encoder.kernels=[[2,2,2],[3,3,3],[3,3,3],[3,3,3],[3,3,3]] model.encoder.kernels=[[3,3,3]]
        model.conditioning.hidden_channels=0 model.conditioning.place=top augment.p_rotation=1.5
        augment.p_rotation=-0.1 augment.p_noise=nan augment.rotation_deg=[30,-30] augment.rotation_deg=30
        augment.rotation_deg=[nan,nan] augment.scale=[1.4,0.7] augment.scale=[0,1] augment.scale=[-1,1]
        augment.noise_sd=[-1,0] augment.blur_sigma=[1,0.5] augment.brightness=[0.75,nan]
        augment.contrast=[0.75] augment.low_resolution_zoom=[0,1] augment.low_resolution_zoom=[0.5,2]
        augment.gamma=[0,1] augment.gamma=[a,b] augment.mirror_axes=[3] augment.mirror_axes=[0,0]
        callbacks.checkpoint.every_n_train_steps=0 callbacks.checkpoint.every_n_minutes=0
        callbacks.checkpoint.every_n_minutes=-1 callbacks.progress.refresh_rate=-1
        tasks.liver.source.cases_per_patient=0 tasks.liver.source.patient_pattern=abc
        tasks.liver.source.patient_pattern='(' tasks.liver.source.splits=[]
    """,
    "train_adamw": "optimizer.lr=-1 optimizer.betas=[0.9] optimizer.betas=[0.9,1] optimizer.eps=-1",
    "train_resenc": """
        model.encoder.blocks=[1,3] model.encoder.blocks=[0,1,1,1,1,1] model.encoder.blocks=[1,1,1,1,1,1000000]
    """,
    "train_segresnet": """
        model.encoder.width=0 model.encoder.num_groups=0 model.encoder.blocks=[1] model.head.width=-1
        model.decoder.num_convs=3
    """,
    "prepare": """
        num_workers=0 num_workers=-5 num_workers=1000000 gpu_memory_gb=0 gpu_memory_gb=-1 gpu_memory_gb=nan
        gpu_memory_gb=inf plan_spacing=finest plan_share_within=0.5 plan_share_within=nan plan_width=[320,32]
        plan_width=[0,32] plan_width=[32] plan_width=[-1,320] plan_precision=8-bit phantom.num_cases=0
        phantom.num_cases=1000000000 phantom.num_cases=-1 phantom.seed=-1
    """,
    "evaluate": """
        pool=[] checkpoint=[] rules.tolerance_mm=-1 rules.tolerance_mm=nan rules.tolerances_mm={liver:-1}
        rules.lesion_overlap=2 rules.lesion_overlap=-1 split=train split=null predictions_use=both inference.windows=odd
        inference.orientation=LPI
    """,
    "predict": """
        input=[] tasks=[] checkpoint=[] modality=[] output= inference.overlap=1 inference.mirror_axes=[3]
        inference.window_batch=0
    """,
    "serve": """
        checkpoint=[] host= store= port=-1 port=65536 port=http token=short keep_minutes=0 max_waiting=0
        max_upload_gb=0 max_unpacked_gb=-1 max_files=1.5 max_megavoxels=nan max_store_gb=inf idle_s=0
    """,
    "report": "runs=[] margin=-1 margin=nan viewer_mb=-1 viewer_mb=nan viewer_mb=401",
    "view": "scan= scan=[] output= max_mb=0 max_mb=nan max_mb=401",
    "export": "output= checkpoint=[] format=pickle tasks=[]",
    "tasks": "action=rename base= json=maybe",
    "info": "checkpoint=[] shape=[1,2] shape=[0,1,1] spacing_mm=[1,1,0] json=maybe",
    "import": "results= output= checkpoint=latest images=[]",
    "crossval": """
        folds=[] folds=[-1] folds=[1,1] folds=2 parallel=0 parallel=1.5 predictions_use=both margin=-1
        rules.tolerance_mm=-1 data.batch_size=0
    """,
    "compare": "runs=[] output= margin=-1 margin=nan",
    "complete": """
        teachers=[] structures=[] output= least_confidence=1.1 least_confidence=-0.1 volume_slack=-1 most_components=0
        most_overlap=2 loss_weight=-1 loss_weight=nan tasks.liver.source.pseudo_weight=-1
    """,
}
GOOD = {
    "train": """
        seed=0 seed=4294967295 data.patch_size=[1,1,1] data.batch_size=1 data.tasks_per_batch=4
        data.tasks_per_batch=null data.task_weights=by_cases data.task_weights=0.5 data.task_weights={liver:0}
        data.foreground_fraction=0 data.foreground_fraction=1 data.num_patients=null data.num_workers=0
        inference.overlap=0 inference.overlap=0.99 inference.mirror_axes=[] inference.mirror_axes=[2,0,1]
        inference.max_memory_gb=null inference.device=cuda:1 trainer.max_steps=5 optimizer.lr=1e-9
        optimizer.momentum=0.999 optimizer.weight_decay=0 scheduler.exponent=0 loss.ce_weight=0
        trainer.devices=auto trainer.devices=[1] trainer.devices=1 trainer.devices=-1 trainer.precision=32
        trainer.precision=auto trainer.benchmark=auto trainer.benchmark=true speed.compile=auto speed.compile=false
        trainer.precision=bf16-mixed trainer.gradient_clip_val=null trainer.accelerator=gpu
        finetune.layer_decay=1 augment.mirror_axes=[] augment.noise_sd=[0,0] augment.rotation_deg=[0,0]
        callbacks.checkpoint.every_n_train_steps=null callbacks.checkpoint.every_n_minutes=0.01
        model.conditioning.hidden_channels=null model.encoder.channels=[4,8,8,8,8]
        tasks.liver.source.patient_pattern='(a)'
    """,
    "train_ddp": "trainer.devices=4 trainer.devices=[0,1] trainer.max_epochs=-1",
    "prepare": """
        num_workers=-1 num_workers=64 gpu_memory_gb=0.5 gpu_memory_gb=141 plan_width=[4,4] plan_share_within=1
        phantom.num_cases=1
    """,
    "evaluate": """
        pool=[a] rules.lesion_overlap=0 rules.lesion_overlap=1 rules.tolerance_mm=0 checkpoint=[a,b]
        split=val predictions_use=file predictions_use=null
    """,
    "serve": "port=0 port=65535 token=null token=12345678 keep_minutes=0.5 max_store_gb=1000",
    "crossval": "folds=null folds=[0,2] parallel=4 nnunet_folds=a nnunet_folds=[a,b] nnunet_folds={liver:a} margin=0",
    "report": "margin=0 metric=hd95_mm runs=[a,b]",
}


def pairs(table):
    return [(root, given) for root, many in table.items() for given in many.split()]


@pytest.fixture(scope="module")
def composed():
    """Configurations by the keys of GIVEN."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return {name: compose(name.split("_")[0], overrides=given) for name, given in GIVEN.items()}


def check(composed, name, given):
    """The value after the check."""
    parsed = OverridesParser.create().parse_override(given)
    config, key = composed[name], parsed.key_or_group
    before = copy.deepcopy(OmegaConf.select(config, key))
    try:
        OmegaConf.update(config, key, parsed.value(), merge=False)
        schema.check_settings(config, name.split("_")[0])
        return OmegaConf.select(config, key)
    finally:
        OmegaConf.update(config, key, before, merge=False)


def test_the_lists_are_long():
    assert len(pairs(BAD)) > 180
    assert len(pairs(GOOD)) > 40


@pytest.mark.parametrize(("name", "given"), pairs(BAD))
def test_an_absurd_value_is_refused_before_any_work(composed, name, given):
    key = given.partition("=")[0]
    with pytest.raises((InputError, OmegaConfBaseException)) as refusal:
        check(composed, name, given)
    if isinstance(refusal.value, InputError):
        assert key in str(refusal.value)
        assert "expected" in str(refusal.value)


@pytest.mark.parametrize(("name", "given"), pairs(GOOD))
def test_an_extreme_that_makes_sense_passes(composed, name, given):
    check(composed, name, given)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_within_bounds(name):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        schema.check_settings(compose("train", overrides=[f"experiment={name}", "run_dir=x"]), "train")


def test_the_line_names_the_key_the_value_and_the_bounds(composed):
    with pytest.raises(
        InputError,
        match=r"^inference\.overlap: found 1\.5; expected a number of at least 0 and below 1; correct the value$",
    ):
        check(composed, "predict", "inference.overlap=1.5")


@pytest.mark.parametrize(("given", "near"), [("split=vall", "val"), ("predictions_use=tasks", "task")])
def test_a_misspelt_word_names_the_nearest(composed, given, near):
    with pytest.raises(InputError, match=f"did you mean {near}\\?$"):
        check(composed, "evaluate", given)


OWN_PARTS = {  # keys of ours with other meanings
    "model.encoder": {
        "_target_": "uniseg_extras.parts.PlainEncoder",
        "channels": [4, 8, 8],
        "kernel": 9,
        "heads": 8,
        "window": 32,
        "strides": [2, 2],
        "kernels": [7],
        "blocks": 0,
    },
    "model.conditioning": {"_target_": "uniseg_extras.parts.TaskScale", "place": "everywhere"},
    "model.head": {"_target_": "uniseg_extras.parts.BiasedHead", "width": "wide"},
    "loss": {"_target_": "uniseg_extras.loss.CrossEntropy", "dice_weight": 0, "ce_weight": 0},
    "optimizer": {"_target_": "torch.optim.Adafactor", "lr": 0.01, "eps": [None, 0.001], "betas": 3},
    "scheduler": {"_target_": "mine.cosine", "exponent": -1, "warmup_steps": 0.1},
    "augment": {"_target_": "mine.Recipe", "scale": "large", "mirror_axes": None},
    "trainer": {"_target_": "mine.Trainer", "max_epochs": 0, "precision": "fp8"},
    "callbacks.progress": {"_target_": "mine.Bar", "refresh_rate": -1},
}


@pytest.mark.parametrize("block", OWN_PARTS)
def test_bounds_of_our_classes_are_not_those_of_others(composed, block):
    config = copy.deepcopy(composed["train"])
    ours = OmegaConf.select(config, block)._target_
    OmegaConf.update(config, block, OWN_PARTS[block], merge=False)
    schema.check_settings(config, "train")
    OmegaConf.update(config, f"{block}._target_", ours)
    with pytest.raises(InputError, match=block.replace(".", r"\.")):
        schema.check_settings(config, "train")


def test_every_block_with_a_class_says_whose_arguments_its_bounds_describe(composed):
    """A key below a ``_target_`` has no bound that would hold for another class."""
    blocks = {key.rpartition(".")[0] for key in group_bounds.BOUNDS}
    assert blocks == set(group_bounds.DESCRIBED)
    for name, config in composed.items():
        for pattern in schema.bounds_of(name.split("_")[0]):
            parts = pattern.split(".")
            above = [".".join(parts[:end]) for end in range(1, len(parts))]
            assert not any(OmegaConf.select(config, f"{each}._target_") for each in above if "*" not in each)


def test_settings_that_depend_on_each_other(composed):
    config = copy.deepcopy(composed["train"])
    config.loss.update({"dice_weight": 0, "ce_weight": 0})
    with pytest.raises(
        InputError, match=r"loss\.dice_weight: found 0 with loss\.ce_weight=0; expected one of them above 0"
    ):
        schema.check_settings(config, "train")


def test_numbers_become_text_where_text_of_any_shape_is_meant(composed):
    assert check(composed, "predict", "input=10023") == "10023"
    assert check(composed, "predict", "input=[1,2]") == ["1", "2"]
    assert check(composed, "predict", "tasks=[5]") == ["5"]
    assert check(composed, "evaluate", "checkpoint=7") == "7"
    assert check(composed, "train", "tasks.liver.source.splits={train:[1,2],test:[3]}") == {
        "train": ["1", "2"],
        "test": ["3"],
    }


def test_text_keys_are_distinguished_from_numbers():
    keys = schema.text_keys("prepare")
    assert {"name", "paths.data", "tasks.*.classes", "tasks.*.source.splits", "import", "plan_output"} <= set(keys)
    assert not {"seed", "data.fold", "tasks.*.spacing_mm", "tasks.*.source.label_map", "data.task_weights"} & set(keys)
