"""nnU-Net's own networks answer the same as ours with their weights; ``nnunet/make.py`` wrote them."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from samples import make_task
from uniseg import InputError, load_model, save_model
from uniseg.datasets.dataset_json import task_name
from uniseg.models.conditioning.none import NoConditioning
from uniseg.models.decoder import Decoder
from uniseg.models.encoders.resenc import ResidualEncoder
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights import import_nnunet
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import transfer

FOLDER = Path(__file__).parent / "nnunet"
TURNED = {"plain": (1, 0, 2), "residual": (0, 1, 2)}  # their axes -> ours, and back


def turn(array: np.ndarray, name: str) -> torch.Tensor:
    return torch.from_numpy(array).permute(0, 1, *(2 + axis for axis in TURNED[name]))


@pytest.mark.parametrize("name", ["plain", "residual"])
def test_logits_are_nnunets(name):
    model, stored = import_nnunet(FOLDER / f"{name}.pth"), np.load(FOLDER / f"{name}.npz")
    with torch.no_grad():
        logits = model(turn(stored["image"], name), torch.tensor([0]))
    regions = bool(model.tasks[0].regions)
    assert len(logits) == 2
    for i, level in enumerate(logits):
        theirs = turn(stored[f"logits_{i}"], name)
        assert theirs.std() > 0.1
        torch.testing.assert_close(level[:, int(regions) :], theirs, atol=1e-4, rtol=0)


def test_the_task_comes_from_the_plans():
    (task,) = import_nnunet(FOLDER / "plain.pth").tasks
    assert (task.name, task.modalities, task.classes) == ("plain", ("CT",), ("background", "liver", "tumour"))
    assert task.spacing_mm == (2.0, 6.0, 1.0), "3d_lowres, axes as in the files"
    (ct,) = task.normalization
    assert (ct.mode, ct.lower, ct.upper, ct.mean, ct.sd) == ("fingerprint", -55.0, 140.0, 72.0, 38.0)
    model = import_nnunet(FOLDER / "residual.pth")
    (task,) = model.tasks
    assert (task.modalities, task.classes, task.regions) == (
        ("T1", "FLAIR"),
        ("background", "whole", "core"),
        ((1, 2), (2,)),
    )
    assert all(each.mode == "zscore" and each.masked for each in task.normalization)
    assert model.patch_size == (8, 16, 24)
    assert model.provenance.data["residual"]["licence"] == "CC BY 4.0"


def test_an_imported_network_is_saved_as_ours(tmp_path):
    model = import_nnunet(FOLDER / "residual.pth")
    again = load_model(save_model(model, tmp_path / "own"))
    assert again.tasks == model.tasks
    image = torch.randn(1, 2, 8, 16, 24)
    with torch.no_grad():
        assert all(
            torch.equal(a, b)
            for a, b in zip(again(image, torch.tensor([0])), model(image, torch.tensor([0])), strict=True)
        )


def test_an_imported_network_grows():
    model = import_nnunet(FOLDER / "plain.pth")
    image = torch.randn(1, 1, 16, 8, 24)
    with torch.no_grad():
        before = model(image, torch.tensor([0]))
        model.extend([make_task("spine")], adapter_channels=2)
        assert all(torch.equal(a, b) for a, b in zip(before, model(image, torch.tensor([0])), strict=True))
        assert model(image, torch.tensor([1]))[0].shape == (1, 3, 16, 8, 24)


def test_every_tensor_of_a_checkpoint_is_accounted_for():
    source = open_source(FOLDER / "plain.pth")
    model = import_nnunet(FOLDER / "plain.pth")
    decoder = partial(Decoder, **{key: value for key, value in model.config["decoder"].items() if key != "_target_"})
    target = UniSegModel(
        TaskSet([make_task("spine")]),
        patch_size=model.patch_size,
        encoder=encoder_of(model),
        conditioning=NoConditioning,
        head=StaticHead,
        decoder=decoder,
    )
    report = transfer(target, source)
    assert (source.kind, source.licence) == ("nnU-Net v2", "CC BY 4.0")
    assert not report.adapted
    assert set(report.missing) == {"head.convs.0.weight", "head.convs.1.weight"}
    assert all(
        torch.equal(target.state_dict()[name], tensor)
        for name, tensor in model.state_dict().items()
        if not name.startswith("head.")
    )
    theirs = set(torch.load(FOLDER / "plain.pth", weights_only=False)["network_weights"])
    reported = {name for name in theirs if name in report.skipped}
    assert not [name for name in theirs - reported if ".all_modules." in name or name.startswith("decoder.encoder.")]
    assert len(theirs - reported) == sum(1 for name in model.state_dict() if not name.endswith("skip_half.weight")), (
        "the others are read"
    )


def encoder_of(model: UniSegModel) -> partial:
    numbers = {key: value for key, value in model.config["encoder"].items() if key != "_target_"}
    return partial(ResidualEncoder if "blocks" in numbers else UNetEncoder, **numbers)


@pytest.mark.parametrize("prefix", ["encoder.", "online_encoder."])
def test_nnssl_gives_stem_and_encoder_alone(tmp_path, prefix):
    content = torch.load(FOLDER / "residual.pth", weights_only=False)
    weights = {
        key.replace("encoder.", prefix, 1) if key.startswith("encoder.") else key: tensor
        for key, tensor in content["network_weights"].items()
    }
    torch.save(
        {"network_weights": weights, "citations": [], "nnssl_adaptation_plan": {"key_to_encoder": f"{prefix}stages"}},
        tmp_path / "ssl.pth",
    )
    model = import_nnunet(FOLDER / "residual.pth")
    target = UniSegModel(
        model.tasks, patch_size=(8, 16, 24), encoder=encoder_of(model), conditioning=NoConditioning, head=StaticHead
    )
    source = open_source(tmp_path / "ssl.pth")
    report = transfer(target, source)
    assert source.kind == "nnssl"
    assert {key for key in target.state_dict() if key.startswith(("stem.", "encoder."))} == set(report.loaded)
    assert {report.missing[key] for key in report.missing if key.startswith("decoder.")} == {
        "fresh: not a part of the source"
    }
    image = torch.randn(1, 2, 8, 16, 24)
    with torch.no_grad():
        ours, theirs = (each.encoder(each.stem(image, [each.stem_of(0)])) for each in (target, model))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def changed(tmp_path: Path, edit) -> Path:
    content = torch.load(FOLDER / "plain.pth", weights_only=False)
    edit(content)
    torch.save(content, tmp_path / "changed.pth")
    return tmp_path / "changed.pth"


def plans_of(content: dict) -> dict:
    return content["init_args"]["plans"]["configurations"]["3d_fullres"]


def test_the_task_has_the_name_that_an_import_of_its_dataset_writes(tmp_path):
    name = "Dataset004_Hippo-Campus"
    path = changed(tmp_path, lambda c: c["init_args"]["plans"].update(dataset_name=name))
    assert import_nnunet(path).tasks.names == (task_name(name),) == ("hippo_campus",)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda c: c.pop("init_args"), "'init_args'"),
        (lambda c: c["init_args"].update(configuration="2d"), "'2d'"),
        (lambda c: plans_of(c).update(previous_stage="3d_lowres"), "cascade"),
        (lambda c: plans_of(c).update(normalization_schemes=["RescaleTo01Normalization"]), "RescaleTo01Normalization"),
        (
            lambda c: c["network_weights"].pop("decoder.stages.0.convs.1.norm.weight"),
            "decoder.stages.1.conv.adn.N.weight",
        ),
        (lambda c: c["network_weights"].pop("encoder.stages.2.0.convs.0.conv.weight"), "encoder.stages.2"),
        (
            lambda c: c["network_weights"].update({"encoder.stages.1.0.convs.2.conv.weight": torch.zeros(1)}),
            "encoder.stages.1.0.convs.2.conv.weight",
        ),
        (
            lambda c: c["network_weights"].update({"decoder.stages.1.attention.weight": torch.zeros(1)}),
            "decoder.stages.1.attention.weight",
        ),
        (lambda c: c.update(init_args=nn.Linear(1, 1)), "UnpicklingError"),
        (lambda c: c["init_args"]["plans"].update(dataset_name="../../x"), "task '../../x'"),
        (lambda c: c["init_args"]["plans"].update(dataset_name=["x"]), "TypeError"),
        (
            lambda c: c["init_args"]["dataset_json"].update(labels={"background": 0, 1: 1, "b": 2}),
            "1 among the classes",
        ),
        (
            lambda c: c["init_args"]["dataset_json"].update(labels={"background": 0, "a": 1, "b": 10**9}),
            "label values [1, 1000000000]",
        ),
        (lambda c: c["init_args"]["dataset_json"].update(channel_names={"0": 3}), "3 among the modalities"),
        (lambda c: c["init_args"]["dataset_json"].update(licence=["CC BY"]), "licence ['CC BY']"),
        (lambda c: plans_of(c).update(patch_size=[8, 16, 10**6]), "patch_size"),
        (
            lambda c: c["init_args"]["plans"]["configurations"]["3d_lowres"].update(spacing=[0, float("nan"), 1]),
            "spacing_mm",
        ),
        (lambda c: plans_of(c).update(inherits_from="3d_fullres"), "RecursionError"),
        (
            lambda c: c["network_weights"]["decoder.seg_layers.0.weight"].fill_(torch.nan),
            "NaN or inf in 'decoder.seg_layers.0.weight'",
        ),
    ],
)
def test_what_is_not_such_a_network_is_refused(tmp_path, edit, named):
    path = changed(tmp_path, edit)
    with pytest.raises(InputError) as error:
        import_nnunet(path)
    assert str(error.value).startswith(f"{path}: ")
    assert named in str(error.value)
    with pytest.raises(InputError, match=re.escape(f"{path}: ")):
        open_source(path)
