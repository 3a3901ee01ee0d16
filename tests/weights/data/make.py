"""Makes the files beside it, with the version of uniseg that is installed.

Commit e5d578d made them; 4c9e9e8, whose ``describe_model`` took the model alone, made those in ``4c9e9e8``,
which lacks what both made alike: ``expected.pt``, ``kidney.safetensors``, ``shared/model.safetensors``.
"""

from functools import partial
from pathlib import Path

import torch

from uniseg import load_model, save_model, save_task
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.provenance import Provenance
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet
from uniseg.weights.checkpoint import describe_model
from uniseg.weights.delta import save_delta

FOLDER = Path(__file__).parent
WINDOW, ZSCORE = Normalization("window", lower=-325, upper=325), Normalization("zscore", masked=False)
LIVER = Task("liver", ("CT",), ("background", "liver", "tumour"), (2, 1, 1), (WINDOW,))
TUMOUR = Task(
    "tumour",
    ("T1", "FLAIR"),
    ("background", "whole", "core"),
    (2, 1, 1),
    (ZSCORE, ZSCORE),
    regions=((1, 2, 4), (2,)),
    optional=("FLAIR",),
    reference="T1",
)
KIDNEY = Task("kidney", ("CT",), ("background", "kidney"), (2, 1, 1), (WINDOW,))
FACTS = {"licence": "CC BY 4.0", "homepage": "https://a.example", "train": ["a", "b"], "dev": ["c"], "test": ["d"]}


def main() -> None:
    torch.manual_seed(0)
    encoder = partial(
        UNetEncoder, channels=[4, 4, 6], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [1, 3, 3], [3, 3, 3]]
    )
    conditioning = partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True)
    model = UniSegModel(
        TaskSet([LIVER, TUMOUR]), patch_size=(4, 8, 8), encoder=encoder, conditioning=conditioning, head=StaticHead
    )
    shake(model, 0.05)
    image = torch.randn(1, 2, 4, 8, 8)
    model.provenance = Provenance(dict.fromkeys(model.tasks.names, FACTS), "e5d578d")
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    lightning = {
        "epoch": 1,
        "global_step": 4,
        "pytorch-lightning_version": "2.6.4",
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    torch.save(
        lightning | {"state_dict": state, "uniseg": describe_model(model, state) | model.provenance.to_dict()},
        FOLDER / "last.ckpt",
    )
    save_model(model, FOLDER / "shared")
    grown = load_model(FOLDER / "shared")
    grown.extend([KIDNEY], adapter_channels=1)
    shake(grown.added, 0.1)
    grown.provenance.data["kidney"] = {"licence": "CC0 1.0", "train": ["k"]}
    save_task(grown, "kidney", FOLDER / "kidney.safetensors")
    save_delta(grown, load_model(FOLDER / "shared"), FOLDER / "kidney.delta.safetensors")
    with torch.inference_mode():
        logits = {
            name: grown(image, torch.tensor([task_index]))[0] for task_index, name in enumerate(grown.tasks.names)
        }
    torch.save({"image": image, "logits": logits}, FOLDER / "expected.pt")


def shake(module: torch.nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount * torch.randn_like(parameter))


if __name__ == "__main__":
    main()
