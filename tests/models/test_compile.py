"""What is compiled of a network: whole, and once for batches of any channel and class counts."""

import pytest
import torch

from networks import MODALITIES, PATCH, SMALL, TASKS, factory
from uniseg.models.uniseg import UniSegModel

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # read by torch while it traces


def compiled(conditioning: str, *, recompute: bool = False, joined: bool = False) -> UniSegModel:
    """Encoder and decoder traced as torch.compile traces them, run without its code generator."""
    torch.compiler.reset()
    model = factory(f"model/conditioning={conditioning}")(TASKS, patch_size=PATCH, encoder=SMALL)
    model.set_recompute(recompute)
    model.set_joined_halves(joined)
    for part in (model.encoder, model.decoder):
        part.compile(backend="aot_eager", fullgraph=True)  # an error at a graph break
    return model


def step(model: UniSegModel, order: list[int]) -> None:
    num_channels = max(TASKS[t].num_modalities for t in order)
    logits = model(torch.randn(len(order), num_channels, *PATCH), torch.tensor(order))
    assert logits[0].shape[1] == max(TASKS[t].num_classes for t in order)
    sum(level[:, :2].square().mean() for level in logits).backward()


@pytest.mark.parametrize("conditioning", ["fuse_prompt", "film"])
def test_no_graph_break_and_one_compilation_for_all_batches(conditioning):
    model = compiled(conditioning)
    step(model, [0, 1])
    with torch._dynamo.config.patch(error_on_recompile=True):
        for order in ([1, 1], [3, 0], [2, 3], [3, 3]):  # 1 to 4 channels, 2 to 4 classes
            step(model, order)
    assert len(MODALITIES) == max(task.num_modalities for task in TASKS) == 4


def test_the_switches_break_no_graph():
    step(compiled("fuse_prompt", joined=True), [0, 3])
    step(compiled("fuse_prompt", recompute=True), [0, 3])


def test_a_compiled_step_is_the_eager_one():
    torch.manual_seed(0)
    model, (image, task) = compiled("fuse_prompt"), (torch.randn(2, 4, *PATCH), torch.tensor([3, 0]))
    eager = factory()(TASKS, patch_size=PATCH, encoder=SMALL)
    eager.load_state_dict(model.state_dict())
    for ours, theirs in zip(model(image, task), eager(image, task), strict=True):
        torch.testing.assert_close(ours, theirs)
