"""Settings of an adaptation: keys of ``conf/adapt.yaml``, for YAML, command line and Python."""

from dataclasses import dataclass, field

from uniseg.errors import InputError
from uniseg.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SEED, bounded, check_fields, number, word

SCAN, SITE = "scan", "site"
ALL, NORMS, AUTO = "all", "norms", "auto"
CONSISTENCY, HISTOGRAM, TENT = "consistency", "histogram", "tent"
RATES = {ALL: 1e-5, NORMS: 1e-3}


@dataclass(frozen=True)
class AdaptSettings:
    """How scans without labels are used, and what the guard lets through.

    Attributes:
        mode: ``scan``: every scan by itself; ``site``: all of a folder together, into a file for its site.
        trains: all weights, or scale and shift of the ``norms`` alone; ``auto``: all for a scan, norms for a site.
        method: what the guard judges and, if it lets it through, the answer is made with; the others are controls. A
            site has consistency alone.
        rounds: of ``patches_per_round`` each, a step of the optimiser after every one but the first (DG-TTA).
        lr: of AdamW; None: 1e-5 for all weights, as DG-TTA, 1e-3 for norms.
        view_sd: standard deviation of what is added to a view's affine matrix.
        gin: whether views differ in appearance too.
        tent_lr: of the control TENT.
        min_gain: of the agreement between views, for the guard.
        min_agreement: mean Dice with the base's answer, below which a plausible base is kept.
        max_distance: that volumes and numbers of components may move out of the training range (log of a ratio).
        min_fraction: of a site's scans that the guard must let through.
        seed: of patches and views.

    Raises:
        InputError: a value out of bounds, or another method for a site.

    Examples:
        >>> AdaptSettings(mode="site").trained, AdaptSettings(mode="site").learning_rate
        ('norms', 0.001)
    """

    mode: str = field(default=SCAN, metadata=bounded(word(SCAN, SITE)))
    trains: str = field(default=AUTO, metadata=bounded(word(AUTO, ALL, NORMS)))
    method: str = field(default=CONSISTENCY, metadata=bounded(word(CONSISTENCY, HISTOGRAM, TENT)))
    rounds: int = field(default=12, metadata=bounded(number(least=2, most=100_000, whole=True)))
    patches_per_round: int = field(default=16, metadata=bounded(COUNT))
    lr: float | None = field(default=None, metadata=bounded(POSITIVE))
    view_sd: float = field(default=0.05, metadata=bounded(number(least=0, most=0.2)))
    gin: bool = True
    tent_lr: float = field(default=1e-3, metadata=bounded(POSITIVE))
    min_gain: float = field(default=0.01, metadata=bounded(FRACTION))
    min_agreement: float = field(default=0.6, metadata=bounded(FRACTION))
    max_distance: float = field(default=0.1, metadata=bounded(NOT_NEGATIVE))
    min_fraction: float = field(default=0.8, metadata=bounded(FRACTION))
    seed: int = field(default=0, metadata=bounded(SEED))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.mode == SITE and self.method != CONSISTENCY:
            found, fix = f"'{self.method}' with mode={SITE}", f"leave method out, or mode={SCAN}"
            raise InputError("method", found, f"{CONSISTENCY}, which a site is adapted by", fix)

    @property
    def trained(self) -> str:
        """``all`` or ``norms``."""
        return self.trains if self.trains != AUTO else NORMS if self.mode == SITE else ALL

    @property
    def learning_rate(self) -> float:
        return RATES[self.trained] if self.lr is None else self.lr
