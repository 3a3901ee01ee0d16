"""How large everything is: the published size for a card, a tiny one for two processor cores; what workers are told."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

MARK = "@result "
NAME = "@name"  # of what is measured, where a worker measures several things
_named: dict[str, str] = {}


@dataclass(frozen=True)
class Scale:
    """Sizes that all parts share.

    Attributes:
        device: cuda or cpu.
        nnunet: folder with nnunetv2 and dynamic_network_architectures; empty: they are imported from where they are.
    """

    device: str = "cuda"
    tiny: bool = False
    nnunet: str = ""

    @property
    def model(self) -> str:
        return "uniseg_tiny" if self.tiny else "uniseg_published"

    @property
    def patch(self) -> list[int]:
        return [16, 32, 32] if self.tiny else [64, 192, 192]

    @property
    def width(self) -> int:
        """Channels of the anchor's first stage."""
        return 4 if self.tiny else 32

    @property
    def scan(self) -> tuple[int, int, int]:
        """Of the prediction."""
        return (20, 40, 40) if self.tiny else (192, 384, 384)

    @property
    def spacing(self) -> list[float]:
        """Of the cached phantoms whose patches are those of the published size."""
        return [6.0, 5.0, 5.0] if self.tiny else [1.2, 0.8, 0.8]

    @property
    def num_cases(self) -> int:
        return 7 if self.tiny else 12

    @property
    def batch(self) -> int:
        return 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def arguments() -> tuple[Scale, dict[str, Any]]:
    """Of a worker: the scale, and what else it was given."""
    given = json.loads(sys.argv[1])
    return Scale(**given.pop("scale")), given


def emit(**values: Any) -> None:
    """Hand results over at once; a later value of the same name replaces an earlier one."""
    sys.stdout.write(f"\n{MARK}{json.dumps(values | _named)}\n")  # a line of its own beside progress bars
    sys.stdout.flush()


def emit_as(name: str) -> None:
    """From now on."""
    _named[NAME] = name


def await_turn() -> None:
    """Waits until nothing else runs on the card; call it after imports, before the first convolution: cuDNN keeps the
    kernels that it chooses then.
    """
    emit(ready=True)
    sys.stdin.readline()


def synchronize(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
