"""A scan as its file stores it: the header at once, the voxels on demand."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.errors import InputError

DEFLATE_RATIO = 1032  # no deflate stream unpacks to more times its own length
CHUNK_BYTES = 1 << 15
AUTODETECT = 32  # zlib's flag for its own header or that of gzip
FARTHEST_MM = 1e6
LARGEST_VOXEL_MM = 100.0
EXTENT_MM = (1.0, 5000.0)  # of the longest axis: no person is smaller or longer
LARGEST_M3 = 8.0
SKEW = 0.03  # cosine between two axes, 1.7 degrees, above which a note tells it
POINTER = b"version https://git-lfs"
RESTORE = "restore the file"


@dataclass(frozen=True)
class Forms:
    """The two affines of a NIfTI header, index (i, j, k, 1) -> RAS mm, with their codes; None where the code is 0.

    Examples:
        >>> Forms(np.eye(4), 1, None, 0).sform_code
        1
    """

    sform: np.ndarray | None
    sform_code: int
    qform: np.ndarray | None
    qform_code: int


@dataclass(frozen=True)
class ImageFile:
    """One file, or one folder of slices, in its own axis order.

    Attributes:
        path: for messages.
        shape: (i, j, k) or (i, j, k, modality); further axes of one voxel are dropped.
        affine: 4x4, index (i, j, k, 1) -> RAS mm.
        load: returns the voxels, of the shape that was given; raises InputError.
        stated: what a DICOM header calls the modality (CT, MR, PT); empty for other files.
        is_extract: the file may cover a part of its scan's grid, as Slicer's segmentations do.
        forms: of a NIfTI header, for what is written on its grid.
        notes: what is doubtful about the header, but no error, each in one line.

    Raises:
        InputError: not three or four axes, an empty axis, an affine that is no grid, or one that no scanner makes:
            voxels above 100 mm, a longest axis below 1 mm or above 5 m, more than 8 cubic metres.

    Examples:
        >>> scan = ImageFile(Path("a.nii"), (9, 9, 9, 1), np.eye(4), lambda: np.ones(729, np.int16))
        >>> scan.shape, scan.voxels().dtype
        ((9, 9, 9), dtype('float32'))
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    load: Callable[[], np.ndarray]
    is_extract: bool = False
    stated: str = ""
    forms: Forms | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        object.__setattr__(self, "shape", shape)
        if len(shape) not in (3, 4) or min(shape) < 1:
            expected = "three dimensions (or four, modalities last)"
            raise InputError(self.path, f"shape {shape}", expected, "give one volume per file")
        with np.errstate(all="ignore"):
            spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
            axes = self.affine[:3, :3] / spacing
            volume = abs(np.linalg.det(axes)) if np.isfinite(spacing).all() and (spacing > 1e-6).all() else 0.0
        if not (np.abs(self.affine) < FARTHEST_MM).all() or not volume > 1e-3:
            expected = "three positive numbers and independent axes"
            raise InputError(self.path, f"spacing {spacing.tolist()}", expected, "repair the header")
        self._require_human(spacing)
        skew = float(np.abs(axes.T @ axes - np.eye(3)).max())
        if skew > SKEW:
            note = f"axes {np.degrees(np.arccos(skew)):.0f} degrees apart, as of a tilted gantry; taken as they are"
            object.__setattr__(self, "notes", (*self.notes, note))

    def _require_human(self, spacing_mm: np.ndarray) -> None:
        extent_mm = spacing_mm * self.shape[:3]
        longest, (low, high) = extent_mm.max(), EXTENT_MM
        is_large = spacing_mm.max() > LARGEST_VOXEL_MM or longest > high or np.prod(extent_mm / 1000) > LARGEST_M3
        if is_large or (longest < low and not self.is_extract):
            shape, spacing = (" x ".join(f"{n:.4g}" for n in values) for values in (self.shape[:3], spacing_mm))
            expected = (
                f"voxels up to {LARGEST_VOXEL_MM:g} mm, a longest axis of {low:g} to {high:g} mm, "
                f"up to {LARGEST_M3:g} m3"
            )
            fix = "repair the spacing, or its unit, in the header"
            raise InputError(self.path, f"{shape} voxels of {spacing} mm", expected, fix)

    def voxels(self) -> np.ndarray:
        """Float32 of ``shape``; what float32 cannot hold becomes infinity.

        Raises:
            InputError: the voxels cannot be read, or are not real numbers.
        """
        values = self.load()
        if values.dtype.kind not in "biuf":
            raise InputError(self.path, f"voxels of type {values.dtype}", "real numbers", "convert the file")
        with np.errstate(all="ignore"):
            return values.reshape(self.shape).astype(np.float32, copy=False)


@contextmanager
def needing(library: str, path: Path) -> Iterator[None]:
    """Around the import of a library that only this kind of file needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        fix = f"pip install {library.lower()}, or convert the file to NIfTI"
        raise InputError(path, f"no {library} installed", "the library for this kind of file", fix) from error


@contextmanager
def refusing(path: Path, expected: str, fix: str = RESTORE) -> Iterator[None]:
    """Whatever a library raises over a foreign file becomes one InputError; only calls of the library belong inside."""
    try:
        with np.errstate(all="ignore"):
            yield
    except InputError:
        raise
    except MemoryError as error:
        found, fix = "more voxels than the memory holds", "free memory, or crop the scan"
        raise InputError(path, found, expected, fix) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            found = error.strerror or reason(error)
            raise InputError(path, found, expected, "check the disk and the permissions") from error
        raise InputError(path, reason(error), expected, fix) from error


def require_content(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        InputError: it cannot be read, is empty, or a pointer that git-lfs left in the place of the content.
    """
    with refusing(path, "an image file"), path.open("rb") as file:
        head = file.read(len(POINTER))
    if not head:
        raise InputError(path, "an empty file", "an image file", RESTORE)
    if head == POINTER:
        raise InputError(path, "a pointer of git-lfs", "an image file", "fetch the content, with git lfs pull")
    return head


def inflate(path: Path, start: int, into: np.ndarray, skip: int = 0) -> int:
    """Fill ``into``, bytes, from the gzip or zlib stream at byte ``start`` of a file.

    The stream is read to its end, where the checksum is.

    Args:
        skip: bytes of the unpacked stream before those that are kept.

    Returns:
        How many bytes the stream holds, less ``skip``; gzip members after the one that fills ``into`` do not count.

    Raises:
        EOFError: the stream ends early.
        zlib.error: it is damaged.
    """
    unpacker, at = zlib.decompressobj(zlib.MAX_WBITS | AUTODETECT), -skip
    with path.open("rb") as file:
        file.seek(start)
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            while chunk:
                part = unpacker.decompress(chunk)
                low, high = max(at, 0), min(at + len(part), into.size)
                if low < high:
                    into[low:high] = np.frombuffer(part, np.uint8)[low - at : high - at]
                at += len(part)
                chunk = unpacker.unused_data
                if unpacker.eof and at >= into.size:
                    return at
                if unpacker.eof:
                    chunk, unpacker = chunk.lstrip(b"\0"), zlib.decompressobj(zlib.MAX_WBITS | AUTODETECT)
    raise EOFError(f"packed voxels end after {max(at, 0)} of {into.size} bytes")


def reason(error: BaseException) -> str:
    """The last word of a library, in one line."""
    text = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({text[-1][:200] if text else 'no detail'})"


def require_bytes(path: Path, claimed: float, num_stored: int, packed: bool) -> None:
    """The header claims no more than the file can hold.

    Raises:
        InputError: the header claims more.
    """
    if claimed > num_stored * (DEFLATE_RATIO if packed else 1):
        raise InputError(
            path,
            f"a header that claims {claimed:.0f} bytes of voxels with {num_stored} bytes stored",
            "a complete file",
            RESTORE,
        )
