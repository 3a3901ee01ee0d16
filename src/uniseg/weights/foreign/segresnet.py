"""Import of the encoders of MONAI's SegResNet networks."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from uniseg.errors import InputError
from uniseg.weights.foreign.nnunet_names import Translated
from uniseg.weights.reading import require_tensors

EXPECTED = "a state dict of MONAI's SegResNet or SegResNetDS, by itself or below 'state_dict', 'model' or 'net'"
WRAPPERS = ("state_dict", "model", "net")
# SegResNetDS, then SegResNet; the first of each is the first convolution.
NAMES = (
    (r"encoder\.conv_init\.weight", "stem.convs.{channels}.weight"),
    (r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.((?:norm|conv)[12])\.(weight|bias)", "encoder.stages.{0}.1.{1}.{2}.{3}"),
    (r"encoder\.layers\.(\d+)\.downsample\.weight", "encoder.stages.{next}.0.weight"),
    (r"convInit\.conv\.weight", "stem.convs.{channels}.weight"),
    (r"down_layers\.(\d+)\.0\.conv\.weight", "encoder.stages.{0}.0.weight"),
    (
        r"down_layers\.(\d+)\.([1-9]\d*)\.((?:norm|conv)[12])(?:\.conv)?\.(weight|bias)",
        "encoder.stages.{0}.1.{before}.{2}.{3}",
    ),
)


def state_of(content: Mapping, path: Path) -> dict[str, Tensor]:
    """The tensors with SegResNet's names, whatever module they were saved in.

    Raises:
        InputError: no first convolution of a SegResNet is among them, or they are NaN or inf.
    """
    state = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    for marker in ("encoder.conv_init.weight", "convInit.conv.weight"):
        for name in state:
            if isinstance(name, str) and re.search(rf"(^|\.){re.escape(marker)}$", name):
                prefix = name.removesuffix(marker)
                tensors = {
                    key.removeprefix(prefix): tensor for key, tensor in state.items() if str(key).startswith(prefix)
                }
                return require_tensors(tensors, path)
    raise InputError(path, f"keys {sorted(map(str, state))[:6]}", EXPECTED, "give the original file")


def translate_segresnet(state: Mapping[str, Tensor], path: Path) -> Translated:
    """First convolution and encoder under the names of ``SegResNetEncoder``.

    Raises:
        InputError: the network has batch norm, whose statistics our encoder has not.
    """
    tensors: dict[str, Tensor] = {}
    unread: dict[str, str] = {}
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            raise InputError(
                path, f"'{name}': batch norm", "instance or group norm", "give a network without batch norm"
            )
        if ours := _ours(name, tensor):
            tensors[ours] = tensor
        else:
            unread[name] = "not of the encoder"
    return Translated(tensors, unread)


def _ours(name: str, tensor: Tensor) -> str | None:
    for pattern, ours in NAMES:
        if match := re.fullmatch(pattern, name):
            groups = match.groups()
            numbers = {"channels": tensor.shape[1] if tensor.ndim == 5 else None}
            numbers["next"] = int(groups[0]) + 1 if groups else None
            numbers["before"] = int(groups[1]) - 1 if len(groups) > 2 else None
            return ours.format(*groups, **numbers)
    return None
