"""A page to look at scans with label maps: one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from uniseg.environment import uniseg_version
from uniseg.errors import InputError, printable
from uniseg.files import write_text
from uniseg.images.files import case_id_of, read_label, read_volume
from uniseg.images.volume import Volume
from uniseg.reporting.label_names import name_segments
from uniseg.reporting.markup import content_policy, render_page
from uniseg.reporting.niivue import load_library
from uniseg.reporting.overlays import overlay_figure
from uniseg.reporting.pictures import Picture, picture
from uniseg.reporting.scene import Layer, Scene, pack
from uniseg.reporting.view_settings import ViewSettings
from uniseg.reporting.viewer import Viewer, viewer_style
from uniseg.task import Normalization, Task

ENDINGS = (".html", ".htm")
LONGEST_NAME = 60  # of a class in a picture's legend


def write_view(
    scans: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    *,
    references: Sequence[Path] = (),
    tasks: Sequence[Task] = (),
    settings: ViewSettings | None = None,
) -> Path:
    """Write a page with the scan's files, one per modality on one grid, and label maps on that grid.

    Args:
        references: one for each of ``labels``, in their order, or none.
        tasks: of a checkpoint, for names where no JSON lies beside a label map.

    Raises:
        InputError: another ending than .html, a file that cannot be read or lies on another grid, another number of
            references; the extra ``view`` is not installed.
    """
    if output.suffix.lower() not in ENDINGS:
        raise InputError("output", str(output), "a file that ends in .html", "name the page")
    library = load_library()
    scene = read_scene(scans, labels, references, tasks)
    settings = ViewSettings() if settings is None else settings
    viewer = Viewer(library, [pack(scene, settings.max_mb)])
    page = render_page(
        "view.html.jinja",
        title=scene.title,
        viewer=viewer,
        style=viewer_style(),
        policy=content_policy(viewer.hashes),
        pictures=[fallback_picture(scene, layer) for layer in scene.layers if layer.segments],
        made=f"Made by uniseg {uniseg_version()} of {', '.join(path.name for path in [*scans, *labels, *references])}.",
    )
    write_text(output, page)
    return output


def read_scene(
    scans: Sequence[Path], labels: Sequence[Path], references: Sequence[Path] = (), tasks: Sequence[Task] = ()
) -> Scene:
    """
    Raises:
        InputError: as ``write_view`` of the files.
    """
    if references and len(references) != len(labels):
        found = f"{len(references)} for {len(labels)} label maps"
        raise InputError("reference", found, "one for each label map, in their order, or none", "correct reference=")
    volume = read_volume(scans)
    layers: list[Layer] = []
    for position, path in enumerate(labels):
        label = read_label(path, scans)
        name, segments = name_segments(path, label, tasks)
        reference = read_label(references[position], scans) if references else None
        if reference is not None:
            known = {value for segment in segments for value in segment.values}
            _, more = name_segments(path, reference, tasks)
            segments = (*segments, *(each for each in more if not known.intersection(each.values)))
        layers.append(Layer(_unlike(name, [layer.task for layer in layers]), segments, label, reference))
    title = printable(case_id_of(scans[0]) or scans[0].name)
    return Scene(title, volume, _scan_names(scans, volume), tuple(layers), "; ".join(volume.notes))


def fallback_picture(scene: Scene, layer: Layer) -> Picture:
    """What a browser without WebGL shows of a layer."""
    task = _as_task(scene, layer)
    first = layer.prediction if layer.reference is None else layer.reference
    second = layer.prediction if layer.reference is not None else None
    assert first is not None
    figure = overlay_figure(scene.volume, first, second, task=task, dice=None, title=f"{scene.title}: {layer.task}")
    lines = "solid: reference, dashed: label map" if second is not None else "solid: label map"
    return picture(layer.task, f"{layer.task}, {lines}", figure)


def _as_task(scene: Scene, layer: Layer) -> Task:
    """What the pictures draw: classes that may overlap."""
    names = ["background"]
    for segment in layer.segments:
        names.append(_unlike(segment.name[:LONGEST_NAME] or "unnamed", names))
    scans: list[str] = []
    for name in scene.scans:
        scans.append(_unlike(name[:LONGEST_NAME], scans))
    how = (Normalization("zscore", masked=False),) * len(scans)
    return Task("labels", scans, names, scene.volume.spacing_mm, how, tuple(s.values for s in layer.segments))


def _scan_names(scans: Sequence[Path], volume: Volume) -> tuple[str, ...]:
    """What DICOM calls the modality, else the file's name; of one file with several channels their numbers too."""
    count = len(volume.array)
    files = [printable(path.name) for path in scans]
    names = files if len(files) == count else [f"{files[0]}, channel {i}" for i in range(count)]
    stated = volume.stated or ("",) * count
    return tuple(each or name for each, name in zip(stated, names, strict=True))


def _unlike(name: str, others: Sequence[str]) -> str:
    """With a number where the name is there already."""
    number = 2
    unlike = name
    while unlike in others:
        unlike, number = f"{name} ({number})", number + 1
    return unlike
