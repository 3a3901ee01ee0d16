"""The viewer of a page: NiiVue with packed scenes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from uniseg.reporting.markup import own_file, script_hash
from uniseg.reporting.niivue import Library
from uniseg.reporting.scene import PackedScene

SCRIPT, STYLE = "viewer.js", "viewer.css"


@dataclass(frozen=True)
class Viewer:
    """What ``viewer.html.jinja`` puts into a page.

    Examples:
        >>> Viewer(load_library(), ()).descriptions  # doctest: +SKIP
        []
    """

    library: Library
    scenes: Sequence[PackedScene]

    @property
    def descriptions(self) -> list[dict[str, Any]]:
        return [scene.description for scene in self.scenes]

    @property
    def script(self) -> Markup:
        return own_file(SCRIPT)

    @property
    def hashes(self) -> Iterable[str]:
        """Of the scripts that the page runs, for its content security policy."""
        return (script_hash(self.script), self.library.hash)


def viewer_style() -> Markup:
    return own_file(STYLE)
