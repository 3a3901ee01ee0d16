"""Why a request is not done: one clear line with an HTTP status."""

from pathlib import Path

from uniseg.errors import InputError

FULL, TOO_LARGE, UNUSABLE, BUSY = 507, 413, 422, 429
NAMED = 100  # characters of what a client sent that an answer repeats


class RefusedError(Exception):
    """What a client is told of a request that is not done.

    Attributes:
        status: of HTTP.
        error: where, what was found, what was expected, what to do.

    Examples:
        >>> RefusedError(413, "scan.nii.gz", "3 GB", "at most 2 GB", "crop it").content["error"]
        'scan.nii.gz: found 3 GB; expected at most 2 GB; crop it'
    """

    def __init__(self, status: int, where: str, found: str, expected: str, fix: str) -> None:
        self.status, self.error = status, InputError(where[:NAMED], found, expected, fix)
        super().__init__(str(self.error))

    @property
    def content(self) -> dict[str, str]:
        """Of the answer."""
        return {"error": str(self.error)} | {key: getattr(self.error, key) for key in ("found", "expected", "fix")}


def without_paths(text: str, names: dict[Path, str]) -> str:
    """A message with the names that a client knows in place of the paths of this machine."""
    for path, name in names.items():
        text = text.replace(str(path), name)
    return text
