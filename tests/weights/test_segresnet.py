"""MONAI's SegResNet networks: their encoders' features with their weights."""

from functools import partial

import pytest
import torch
from monai.networks.nets import SegResNet, SegResNetDS

from samples import make_task
from uniseg import InputError, load_model, save_model
from uniseg.models.conditioning.none import NoConditioning
from uniseg.models.encoders.segresnet import SegResNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import transfer

STRIDES = ([1, 2, 2], [2, 2, 2])


def target(**more) -> UniSegModel:
    encoder = partial(SegResNetEncoder, width=8, blocks=[1, 2, 2], bare_stem=True, **more)
    return UniSegModel(
        TaskSet([make_task()]), patch_size=(8, 16, 16), encoder=encoder, conditioning=NoConditioning, head=StaticHead
    )


def features(model: UniSegModel, image: torch.Tensor) -> list[torch.Tensor]:
    return model.encoder(model.stem(image, [model.stem_of(0)]))


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return network.eval()


def test_auto3dsegs_network(tmp_path):
    theirs = shaken(SegResNetDS(init_filters=8, norm="instance", blocks_down=(1, 2, 2), resolution=(2, 1, 1)))
    torch.save({"state_dict": theirs.state_dict(), "epoch": 3}, tmp_path / "model.pt")
    source, model = open_source(tmp_path / "model.pt"), target(strides=STRIDES)
    report = transfer(model, source)
    assert source.kind == "MONAI SegResNet"
    assert set(report.loaded) == {name for name in model.state_dict() if name.startswith(("stem.", "encoder."))}
    assert set(report.skipped) == {name for name in theirs.state_dict() if not name.startswith("encoder.")}
    image = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        for ours, expected in zip(features(model, image), theirs.encoder(image), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_older_network_with_group_norm(tmp_path):
    theirs = shaken(
        SegResNet(
            spatial_dims=3, init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 2, 2), blocks_up=(1, 1)
        )
    )
    torch.save(
        {"net": {f"module.backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}},
        tmp_path / "supervised.pth",
    )
    model = target(strides=([2, 2, 2], [2, 2, 2]), num_groups=8)
    transfer(model, open_source(tmp_path / "supervised.pth"))
    image = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        bottleneck, finer = theirs.encode(image)
        for ours, expected in zip(features(model, image), [*finer[:-1], bottleneck], strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_batch_norm_and_strangers_are_refused(tmp_path):
    torch.save(SegResNetDS(init_filters=8, blocks_down=(1, 2, 2)).state_dict(), tmp_path / "batch.pt")
    with pytest.raises(InputError, match="batch norm"):
        open_source(tmp_path / "batch.pt")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="SegResNet"):
        open_source(tmp_path / "other.pt")


def test_a_file_that_names_the_encoder_by_its_former_module_is_read(tmp_path):
    model = target(strides=STRIDES)
    path = "uniseg.models.encoders.segresnet.SegResNetEncoder"
    assert model.config["encoder"]["_target_"] == path
    model.config["encoder"]["_target_"] = path.replace("segresnet", "monai_nets", 1)
    back = load_model(save_model(model, tmp_path / "model"))
    assert back.config["encoder"]["_target_"] == path
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in model.state_dict().items())
