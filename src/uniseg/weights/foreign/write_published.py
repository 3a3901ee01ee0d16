"""Weights written back in the published UniSeg's layout."""

from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.files import write_bytes
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.weights.foreign.published import needs_bias, published_names
from uniseg.weights.norm_restoring import with_common_epsilon


def write_published(model: UniSegModel, path: str | Path) -> Path:
    """Write a file that ``import_published`` and the published network take: its ``state_dict``, with the biases that a
    norm cancels as 0.

    Raises:
        InputError: another network than the published one, of whatever width, or one with added tasks.
    """
    path = Path(path)
    conditioning = model.conditioning
    parts = ((model.encoder, UNetEncoder), (model.head, StaticHead), (conditioning, FusePrompt))
    is_published = all(type(part) is cls for part, cls in parts) and not model.added
    if (
        not is_published
        or conditioning.fuse is None
        or not conditioning.last_norm
        or conditioning.decoder_prompt_channels
        or any(getattr(part, "padding_mode", "zeros") != "zeros" for part in model.modules())
    ):
        raise InputError(
            path,
            "a network of another kind, or with added tasks",
            "the published network: model=uniseg_published",
            "export a folder: uniseg.export",
        )
    content = BytesIO()  # torch.save straight to a full disk is a RuntimeError without errno
    torch.save({"epoch": 0, "state_dict": published_state(with_common_epsilon(model))}, content)
    write_bytes(path, content.getbuffer())
    return path


def published_state(model: UniSegModel) -> dict[str, Tensor]:
    """Published names -> tensors."""
    tensors = model.state_dict()
    state: dict[str, Tensor] = {}
    for theirs, ours in published_names(model).items():
        parts = [tensors[name] for name in ours]
        state[theirs] = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0].clone()
        if needs_bias(theirs):
            state[theirs.removesuffix("weight") + "bias"] = torch.zeros(len(state[theirs]))
    return state
