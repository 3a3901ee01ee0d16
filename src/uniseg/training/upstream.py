"""Training one network on many tasks."""

from uniseg.training.segmentation import SegmentationModule


class UpstreamModule(SegmentationModule):
    """Universal training; weights that ask for no gradient stay as they are."""
