"""Settings of pages: keys of ``view``, ``report`` and ``compare``, for YAML, command line and Python."""

from dataclasses import dataclass, field

from uniseg.settings import NOT_NEGATIVE, bounded, number

LARGEST_MB = 400  # a text of more than 512 MB is more than a browser takes


@dataclass(frozen=True)
class ViewSettings:
    """How large the page of ``uniseg view`` may be.

    Attributes:
        max_mb: of the scans and label maps in the page, in 10⁶ bytes; what is larger gets coarser voxels.

    Examples:
        >>> ViewSettings().max_mb
        100
    """

    max_mb: float = field(default=100, metadata=bounded(number(above=0, most=LARGEST_MB)))


@dataclass(frozen=True)
class CompareSettings:
    """What a user chooses of a comparison.

    Attributes:
        margin: what a run may lose and still count as not inferior, in units of the metric.

    Examples:
        >>> CompareSettings().margin
        0.02
    """

    margin: float = field(default=0.02, metadata=bounded(NOT_NEGATIVE))


@dataclass(frozen=True)
class ReportSettings(CompareSettings):
    """What a user chooses of a report.

    Attributes:
        viewer_mb: of all cases that a run's page holds for its viewer, in 10⁶ bytes; 0: no viewer.

    Examples:
        >>> ReportSettings().viewer_mb
        12
    """

    viewer_mb: float = field(default=12, metadata=bounded(number(least=0, most=LARGEST_MB)))
