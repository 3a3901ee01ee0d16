"""The kinds of trials, each a function that writes a hostile input into a folder."""

from field.kinds import disk, kills, scans, settings, tables, weights
from field.trial import Maker

KINDS: dict[str, Maker] = {
    "weights": weights.make,
    "tables": tables.make,
    "scans": scans.make,
    "settings": settings.make,
    "disk": disk.make,
    "kills": kills.make,
}
