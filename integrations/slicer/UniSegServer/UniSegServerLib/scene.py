"""Volumes of the scene -> files, a segmentation's file -> the scene: all that needs Slicer, which is an argument."""

from pathlib import Path


def save_volume(slicer, node, path: Path) -> Path:
    """The volume as NRRD, placed as it is in the world: with the transforms above it.

    Raises:
        OSError: it cannot be written.
    """
    if not slicer.util.exportNode(node, str(path), {"useCompression": False}, world=True):
        raise OSError(f"volume '{node.GetName()}' cannot be written to {path}")
    return path


def load_segmentation(slicer, path: Path, volume, name: str, classes):
    """A node with the segmentation of ``path``, shown in 2-D and 3-D.

    Args:
        volume: the node on whose grid it lies.
        classes: names with their colours, 0 to 1; segments of other names (where classes overlap) keep the file's.
    """
    node = slicer.util.loadSegmentation(str(path), {"name": name})
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    colours, segmentation = dict(classes), node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        if segment.GetName() in colours:
            segment.SetColor(*colours[segment.GetName()])
    node.CreateDefaultDisplayNodes()
    node.CreateClosedSurfaceRepresentation()
    return node
