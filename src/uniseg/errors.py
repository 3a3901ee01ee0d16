"""The one exception that bad input from a user raises."""

INTERRUPTED = 130  # exit code of what a Ctrl-C ended: 128 + SIGINT
LONGEST = 1000  # characters of each part of a message: what was found may be anything


def printable(text: object) -> str:
    """``str(text)`` with a question mark for every character that could change a terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


class InputError(ValueError):
    """Bad input in one line: where it is, what was found, what was expected, what to do.

    Entry points print it and exit with code 2.

    Examples:
        >>> str(InputError("a.nii", "no such file", "an image", "check the path"))
        'a.nii: found no such file; expected an image; check the path'
    """

    def __init__(self, where, found: str, expected: str, fix: str) -> None:
        text = f"{where}: found {_cut(found)}; expected {_cut(expected)}; {fix}"
        super().__init__(printable(text))
        self.where, self.found, self.expected, self.fix = str(where), found, expected, fix

    def __reduce__(self) -> tuple:
        return InputError, (self.where, self.found, self.expected, self.fix)


def _cut(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}..."
