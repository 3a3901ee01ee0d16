"""Weights go over as they are, by a named rule, or not at all."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from samples import make_task
from uniseg import InputError, save_model
from uniseg.models.conditioning.none import NoConditioning
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights import import_published
from uniseg.weights.foreign.open import open_source
from uniseg.weights.foreign.published import published_names
from uniseg.weights.transfer import inflate_channels, transfer

HEART = make_task("heart", ("MR", "CT"), ("background", "heart"))
SPINE = make_task("spine")
PARITY = Path(os.environ.get("UNISEG_PARITY", Path(__file__).parents[3] / "shared" / "parity"))


def downstream(like: UniSegModel, *tasks, channels=None) -> UniSegModel:
    """As the published recipe: the same trunk without prompts."""
    encoder = like.config["encoder"]
    numbers = {key: encoder[key] for key in ("channels", "strides", "kernels")} | (
        {"channels": channels} if channels else {}
    )
    return UniSegModel(
        TaskSet(tasks), patch_size=like.patch_size, encoder=partial(UNetEncoder, **numbers),
        conditioning=NoConditioning, head=StaticHead,
    )  # fmt: skip


@pytest.fixture
def source(model, tmp_path):
    model.provenance = Provenance.from_dict({"data": {name: {"licence": "CC BY-NC 4.0"} for name in model.tasks.names}})
    return open_source(save_model(model, tmp_path / "base"))


def test_a_network_into_itself_is_all_of_it(model, source):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    report = transfer(model, source)
    assert (report.coverage, report.adapted, report.missing, report.skipped) == (1.0, {}, {}, {})
    assert set(report.loaded) == set(model.state_dict())
    assert all(torch.equal(tensor, source.tensors[name]) for name, tensor in model.state_dict().items())
    assert report.licence == "CC BY-NC 4.0"


def test_every_tensor_is_accounted_for(model, source):
    target = downstream(model, SPINE)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = transfer(target, source)
    upsample = f"decoder.stages.{len(target.decoder.stages) - 1}.upsample.weight"
    assert report.adapted == {upsample: "drop_prompt_channel"}
    assert set(report.missing) == {name for name in before if name.startswith("head.")}
    assert {*report.loaded, *report.adapted, *report.missing} == set(before)
    assert {*report.loaded, *report.adapted, *report.skipped} == set(source.tensors)
    assert set(report.skipped) == {
        name
        for name in source.tensors
        if name.startswith(("head.", "conditioning.")) or name in ("stem.convs.4.weight",)
    }
    after = target.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in report.missing)
    assert torch.equal(after[upsample], source.tensors[upsample][:-1])
    numbers = sum(tensor.numel() for tensor in before.values())
    assert report.coverage == pytest.approx(1 - sum(before[name].numel() for name in report.missing) / numbers)
    assert {name: facts["licence"] for name, facts in target.provenance.data.items()} == dict.fromkeys(
        model.tasks.names, "CC BY-NC 4.0"
    )
    assert any("drop_prompt_channel" in line for line in report.lines())


def test_licence_and_citations_of_the_weights_go_along_scores_do_not(model, tmp_path):
    path = tmp_path / "model"
    model.provenance = Provenance(licence="non-commercial", citations=("A 2023",), scores={"liver": {"dice": 0.9}})
    save_model(model, path)
    target = downstream(model, SPINE)
    target.provenance = Provenance(licence="CC BY 4.0", citations=("B 2024", "A 2023"))
    transfer(target, open_source(path))
    assert target.provenance.licence == "CC BY 4.0; non-commercial"
    assert target.provenance.citations == ("B 2024", "A 2023")
    assert not target.provenance.scores


def test_more_channels_answer_alike_to_alike_images(model, source):
    target = downstream(model, HEART)
    report = transfer(target, source)
    assert report.adapted["stem.convs.2.weight"] == "inflate_channels"
    image = torch.randn(1, 1, 4, 8, 8)
    torch.testing.assert_close(target.stem.convs["2"](image.expand(-1, 2, -1, -1, -1)), model.stem.convs["1"](image))
    four = {"stem.convs.4.weight": torch.randn(3, 4, 1, 1, 1)}
    name, narrow = inflate_channels("stem.convs.1.weight", torch.zeros(3, 1, 1, 1, 1), four)
    assert name == "stem.convs.4.weight"
    torch.testing.assert_close(narrow, four[name].sum(1, keepdim=True))


def test_a_prompt_that_the_source_lacks_begins_at_zero(model, tmp_path):
    plain = open_source(save_model(downstream(model, *model.tasks), tmp_path / "plain"))
    report = transfer(model, plain)
    upsample = model.decoder.stages[-1].upsample.weight
    assert list(report.adapted.values()) == ["new_prompt_channel"]
    assert not upsample[-1].any()
    assert torch.equal(upsample[:-1], plain.tensors[f"decoder.stages.{len(model.decoder.stages) - 1}.upsample.weight"])


def test_a_gap_without_a_rule_is_refused_whole(model, source):
    target = downstream(model, SPINE, channels=[4, 8, 16])
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(InputError, match=r"encoder\.stages\.2\.0\.conv\.weight.*choose the source's encoder"):
        transfer(target, source)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_files_of_something_else_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    for name, reason in (("none", "no such file"), ("text", "published UniSeg")):
        with pytest.raises(InputError, match=reason):
            open_source(tmp_path / name)


@pytest.mark.skipif(not (PARITY / "vectors.pt").exists(), reason=f"no parity vectors in {PARITY} (set UNISEG_PARITY)")
def test_the_published_network_goes_downstream_as_published():
    """Names and shapes of the published downstream network, but for stems of other numbers of modalities; its trunk is
    that of upstream without prompt.
    """
    upstream = import_published(PARITY / "model_final_checkpoint.model")
    source = open_source(PARITY / "model_final_checkpoint.model")
    target = downstream(upstream, make_task("btcv", classes=tuple(f"c{k}" for k in range(14))))
    report = transfer(target, source)
    assert list(report.adapted.values()) == ["drop_prompt_channel"]
    assert {*report.loaded, *report.adapted, *report.missing} == set(target.state_dict())
    kept = {name for name in source.tensors if name.startswith(("encoder.", "decoder.", "stem.adn"))} | {
        "stem.convs.1.weight"
    }
    assert {*report.loaded, *report.adapted} == kept
    assert {*report.loaded, *report.adapted, *report.skipped} == {*source.tensors, *source.unread}
    listed = dict(
        line.split("\t")
        for line in (PARITY / "state_dict_downstream.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    names = published_names(target)
    ours = {theirs.replace("seg_outputs", "seg_outputs_down") for theirs in names}
    weights = {name for name in listed if not name.endswith("bias") or "instnorm" in name}
    assert weights - ours == {f"conv_blocks_context.0.blocks.0.conv_{count}.weight" for count in (2, 4)}
    assert not ours - weights
    with torch.no_grad():
        upstream.decoder.stages[-1].upsample.weight[-1] = 0
        image, task = torch.randn(1, 1, *upstream.patch_size), torch.tensor([0])
        for name, model in (("up", upstream), ("down", target)):
            encoded = model.encode(image, task)
            pyramid = model.decoder(model.conditioning(encoded.bottleneck, task).features, encoded.skip_terms)
            if name == "up":
                expected = pyramid
    for ours_, theirs in zip(pyramid, expected, strict=True):
        torch.testing.assert_close(ours_, theirs, atol=1e-5, rtol=0)
