"""Checkpoints that describe themselves; foreign weights on their way in."""

from uniseg.weights.published import import_published

__all__ = ["import_published"]
