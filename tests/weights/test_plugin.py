"""Parts of a network from another package: trained and loaded again where it is installed, refused where it is not."""

from functools import partial

import pytest
import torch

from plugin import install
from samples import make_task
from uniseg import InputError, save_model
from uniseg.models.conditioning.none import NoConditioning
from uniseg.models.encoders.base import Encoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.build import build_model, require_loadable
from uniseg.weights.checkpoint import load_model

TASKS = TaskSet([make_task(), make_task("spleen", classes=("background", "spleen"))])


class Unregistered(Encoder):
    """A class of a module that no installed package has."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.channels, self.strides, self.stem_kernel = (2, 2), ((1, 1, 1), (2, 2, 2)), (3, 3, 3)
        self.stages = torch.nn.ModuleList(torch.nn.Conv3d(2, 2, 3, stride, 1) for stride in (1, 2))


def plugin_model() -> UniSegModel:
    from uniseg_extras.parts import BiasedHead, PlainEncoder, TaskScale

    encoder = partial(PlainEncoder, channels=[4, 8])
    return UniSegModel(TASKS, patch_size=(4, 8, 8), encoder=encoder, conditioning=TaskScale, head=BiasedHead).eval()


def test_parts_of_an_installed_package_come_back(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch)
    model = plugin_model()
    require_loadable(model)
    back = load_model(save_model(model, tmp_path / "model"))
    image, task = torch.randn(2, 1, 4, 8, 8), torch.tensor([0, 1])
    with torch.inference_mode():
        for one, other in zip(model(image, task), back(image, task), strict=True):
            assert torch.equal(one, other)
    assert type(back.encoder).__module__ == "uniseg_extras.parts"


def test_a_package_without_the_entry_point_is_refused_by_reader_and_before_training(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, entry_points=False)
    model = plugin_model()
    with pytest.raises(InputError, match=r"model: encoder: found class 'uniseg_extras\.parts\.PlainEncoder'; .* group"):
        require_loadable(model)
    with pytest.raises(InputError, match="install the package") as error:
        load_model(save_model(model, tmp_path / "model"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (Unregistered, "found class '.*Unregistered'"),
        (lambda: Unregistered(), "found class '.*<lambda>'"),
        (partial(Unregistered, extra={"a": 1}), "encoder with {'a': 1}"),
    ],
    ids=["unregistered", "function", "setting"],
)
def test_a_network_that_could_not_be_loaded_is_refused(encoder, reason):
    model = UniSegModel(TASKS, patch_size=(4, 8, 8), encoder=encoder, conditioning=NoConditioning, head=StaticHead)
    with pytest.raises(InputError, match=f"^model: .*{reason}"):
        require_loadable(model)


def test_a_part_that_comes_back_with_other_tensors_is_refused(model):
    require_loadable(model)
    model.head.convs[0] = torch.nn.Conv3d(4, 5, 1, bias=False)
    with pytest.raises(InputError, match=r"^model: found size mismatch for 'head\.convs\.0\.weight' of shape \(5, 4"):
        require_loadable(model)


def test_a_subclass_comes_back_as_itself(model, tmp_path):
    class Public(UniSegModel):
        """A network with more methods."""

    assert type(build_model(model.tasks, model.config, Public)) is Public
    back = load_model(save_model(model, tmp_path / "model"), cls=Public)
    assert type(back) is Public
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in model.state_dict().items())
