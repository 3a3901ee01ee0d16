"""What each conditioning does with the task, beyond the contract that all of them keep."""

import pytest
import torch

from networks import PATCH, TASKS, build, mixed_image
from samples import make_task
from uniseg.errors import InputError
from uniseg.models.conditioning.base import StageCondition
from uniseg.models.conditioning.combined import join_stage
from uniseg.models.conditioning.film import Film
from uniseg.models.decoder import Decoder, DecoderStage
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.weights.build import build_model
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model
from uniseg.weights.foreign.write_published import write_published

PARTS = "model.conditioning.parts"


def stage_with_input(num_convs: int = 2) -> tuple[DecoderStage, torch.Tensor, torch.Tensor]:
    stage = DecoderStage(6, 4, (2, 2, 2), kernel=(3, 3, 3), num_convs=num_convs, upsample_bias=False)
    return stage, torch.randn(2, 6, 2, 3, 3), torch.randn(2, 4, 4, 6, 6)


@pytest.mark.parametrize("num_convs", [1, 2])
def test_a_modulation_is_one_of_norms(num_convs):
    """Scale and shift ``[B,C]`` give what norms with these weights give, sample by sample."""
    stage, x, skip = stage_with_input(num_convs)
    norms = [stage.adn.N, *([stage.conv.adn.N] if num_convs == 2 else [])]
    pairs = [(torch.randn(2, 4), torch.randn(2, 4)) for _ in norms]
    for norm in norms:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    together = stage(x, skip, condition=StageCondition(modulations=tuple(pairs)))
    before = [(norm.weight.clone(), norm.bias.clone()) for norm in norms]
    for b in range(2):
        with torch.no_grad():
            for norm, (weight, bias), (scale, shift) in zip(norms, before, pairs, strict=True):
                norm.weight.copy_(weight * (1 + scale[b]))
                norm.bias.copy_(bias * (1 + scale[b]) + shift[b])
        alone = stage(x[b : b + 1], skip[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_one_more_input_of_the_first_convolution():
    stage, x, skip = stage_with_input()
    prompt, weight = torch.randn(2, 1, 2, 3, 3), torch.randn(4, 1)
    resized = torch.nn.functional.interpolate(prompt, (4, 6, 6), mode="trilinear")
    term = resized * weight[:, 0, None, None, None]
    told = stage(x, skip, condition=StageCondition(prompt, weight))
    torch.testing.assert_close(told, stage(x, skip + term), atol=1e-5, rtol=1e-4)
    assert (told - stage(x, skip)).abs().mean() > 0.1


def test_recomputed_stages_are_told_too():
    model = build("model/conditioning=combined").train()
    torch.nn.init.normal_(model.conditioning.parts["film"].vectors)
    gradients = []
    for recompute in (False, True):
        model.set_recompute(recompute)
        model.zero_grad()
        torch.manual_seed(1)
        model(*mixed_image())[0][:, :2].square().mean().backward()
        gradients.append(model.conditioning.parts["film"].vectors.grad.clone())
    assert gradients[0].abs().min() > 0
    torch.testing.assert_close(*gradients)


def test_film_starts_as_a_network_that_knows_no_task():
    film, untold = build("model/conditioning=film"), build("model/conditioning=none")
    missing, unexpected = untold.load_state_dict(film.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ["conditioning.vectors"])
    image, order = mixed_image()
    for a, b in zip(film(image, order), untold(image, order), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_film_brings_kilobytes_a_task():
    film = Film(channels=320, tasks=TASKS, size=(4, 6, 6), lr_factor=1)
    decoder = Decoder(
        channels=[32, 64, 128, 256, 320, 320], strides=[(1, 1, 1), (1, 2, 2), *[(2, 2, 2)] * 4], bottleneck_channels=320
    )
    film.meet_decoder(decoder.channels, decoder.norms_per_stage)
    assert 10_000 < film.make_task_state().vector.numel() * 4 < 50_000


def test_tokens_hold_nothing_of_the_size_of_the_patch():
    model = build("model/conditioning=tokens")
    larger = build_model(TASKS, model.config | {"patch_size": [16, 32, 32]})
    larger.load_state_dict(model.state_dict())
    image, task = torch.randn(1, 1, 16, 32, 48), torch.tensor([1])
    assert torch.equal(model(image, task)[0], larger(image, task)[0])


def test_tokens_find_the_place_that_they_ask_for():
    conditioning = build("model/conditioning=tokens").conditioning
    bottleneck = torch.zeros(2, 8, 4, 4, 4)
    key = conditioning.key.weight[:, :, 0, 0, 0]
    asked = torch.linalg.lstsq(key, conditioning.tokens[0]).solution  # the feature whose key is most like the token
    bottleneck[0, :, 1, 2, 3] = bottleneck[1, :, 3, 0, 0] = 20 * asked.detach()
    prompts = conditioning.task_prompts(bottleneck)
    assert [torch.unravel_index(p.argmax(), p.shape) for p in prompts[:, 0]] == [(1, 2, 3), (3, 0, 0)]
    torch.testing.assert_close(conditioning(bottleneck, torch.tensor([0, 0])).features[:, -1], prompts[:, 0])


def test_without_its_last_norm_fuse_keeps_the_size_of_a_prompt():
    """The norm takes out how strong a prompt is in an image, which without it follows the image."""
    strengths = {}
    for last_norm in (True, False):
        conditioning = build(f"model.conditioning.last_norm={last_norm}").conditioning
        prompts = conditioning.task_prompts(torch.randn(16, 8, 4, 4, 4)).flatten(2)
        strengths[last_norm] = (prompts.std(2).std(0) / prompts.std(2).mean(0)).mean().item()
    assert strengths[False] > 2 * strengths[True]


def test_the_pyramid_tells_every_stage():
    model = build("model/conditioning=prompt_pyramid")
    bottleneck = torch.randn(2, 8, 4, 4, 4)
    conditioned = model.conditioning(bottleneck, torch.tensor([0, 2]))
    assert [tuple(stage.prompt_weight.shape) for stage in conditioned.stages] == [(4, 1), (6, 1)]
    prompts = model.conditioning.task_prompts(bottleneck)[[0, 1], [0, 2]]
    for stage in conditioned.stages:
        assert torch.equal(stage.prompt[:, 0], prompts)
    assert conditioned.features.shape[1] == 9


def test_parts_are_joined():
    model = build("model/conditioning=combined", f"+model/conditioning@{PARTS}.code=one_hot", "model/head=dynamic")
    torch.nn.init.normal_(model.conditioning.parts["film"].vectors)
    parts, bottleneck, task = model.conditioning.parts, torch.randn(2, 8, 4, 4, 4), torch.tensor([0, 2])
    joined = model.conditioning(bottleneck, task)
    assert torch.equal(joined.features, parts["fuse_prompt"](bottleneck, task).features)
    assert torch.equal(joined.task_code, parts["code"](bottleneck, task).task_code)
    assert torch.equal(joined.stages[1].modulations[1][0], parts["film"](bottleneck, task).stages[1].modulations[1][0])
    assert torch.equal(model.conditioning.task_prompts(bottleneck), parts["fuse_prompt"].task_prompts(bottleneck))
    assert model.conditioning.sees_image


def test_joined_modulations_follow_each_other():
    first, second = ((torch.tensor([[0.5]]), torch.tensor([[2.0]])),), ((torch.tensor([[1.0]]), torch.tensor([[3.0]])),)
    ((scale, shift),) = join_stage([StageCondition(modulations=first), StageCondition(modulations=second)]).modulations
    assert (1 + scale.item(), shift.item()) == (1.5 * 2, 2 * 2 + 3)


def test_two_parts_that_change_the_bottleneck_are_refused():
    with pytest.raises(InputError, match="fuse_prompt, tokens"):
        build("model/conditioning=combined", f"+model/conditioning@{PARTS}.tokens=tokens")


def test_parts_are_described_with_what_was_derived(tmp_path):
    model = build("model/conditioning=combined", f"{PARTS}.fuse_prompt.lr_factor=3")
    described = model.config["conditioning"]["parts"]
    assert described["fuse_prompt"]["hidden_channels"] == 3
    model.extend([make_task("gallbladder")], adapter_channels=2)
    torch.nn.init.normal_(model.conditioning.parts["film"].vectors)
    torch.nn.init.normal_(model.added[0].own["film"].vector)
    back = load_model(save_model(model.eval(), tmp_path / "saved"))
    image = torch.randn(1, 1, *PATCH)
    for task in (0, 4):
        assert torch.equal(back(image, torch.tensor([task]))[0], model(image, torch.tensor([task]))[0])
    prompt = model.conditioning.parts["fuse_prompt"].universal_prompt
    assert {id(p): f for p, f in model.conditioning.lr_factors().items()} == {id(prompt): 3}


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_a_border_of_zeros_draws_a_pattern(padding):
    """Maps that are the same everywhere stay so where the values at the border go on."""
    conditioning = build(f"model.conditioning.padding={padding}").conditioning
    torch.nn.init.constant_(conditioning.universal_prompt, 2)
    prompts = conditioning.task_prompts(torch.ones(1, 8, 3, 2, 2)).flatten(2)
    stage = UNetEncoder(**UNetEncoder.SMALL, bottleneck_padding=padding).stages[-1]
    features = stage(torch.ones(1, 6, 6, 4, 4)).flatten(2)
    flat = [maps.std(2).max().item() < 1e-2 for maps in (prompts, features)]
    assert flat == [padding == "replicate"] * 2


def test_only_the_bottleneck_has_another_padding():
    encoder = UNetEncoder(**UNetEncoder.SMALL, bottleneck_padding="replicate")
    modes = [
        {conv.padding_mode for conv in stage.modules() if isinstance(conv, torch.nn.Conv3d)} for stage in encoder.stages
    ]
    assert modes == [{"zeros"}, {"zeros"}, {"replicate"}]


@pytest.mark.parametrize("option", ["padding=replicate", "last_norm=false"])
def test_what_the_published_network_has_not_is_not_written_as_one(option, tmp_path):
    write_published(build("model.conditioning.fuse=true"), tmp_path / "published.model")
    with pytest.raises(InputError, match="model=uniseg_published"):
        write_published(build(f"model.conditioning.{option}"), tmp_path / "other.model")
