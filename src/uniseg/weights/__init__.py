"""Checkpoints that describe themselves; foreign weights on their way in."""

from uniseg.weights.foreign.nnunet import import_nnunet
from uniseg.weights.foreign.published import import_published
from uniseg.weights.foreign.write_published import write_published

__all__ = ["import_nnunet", "import_published", "write_published"]
