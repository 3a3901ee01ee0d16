"""Training one network on many tasks from new weights."""

from uniseg.training.segmentation import SegmentationModule


class UpstreamModule(SegmentationModule):
    """Universal training: every weight is new, every weight is trained."""
