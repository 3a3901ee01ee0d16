"""How the weights of a network came to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Provenance:
    """What goes along with the weights, into every file of them.

    Attributes:
        data: task name -> facts on its training data, plain containers (``uniseg.weights.seen.data_facts``).
        commit: of the code that trained; empty where it is not known.
        licence: of the weights themselves, where their origin states one beside those of the data.
        scores: task name -> measured numbers.
        citations: of the work that they come from.
        mirror_axes: (z, y, x) of the test-time mirroring that its run is scored with; prediction does the same.

    Examples:
        >>> Provenance.from_dict({"data": {"liver": {"licence": "CC BY 4.0"}}, "commit": "a1b2c3"}).commit
        'a1b2c3'
        >>> Provenance(commit="a1b2c3").to_dict()
        {'commit': 'a1b2c3'}
    """

    data: Mapping[str, Mapping] = field(default_factory=dict)
    commit: str = ""
    licence: str = ""
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    citations: tuple[str, ...] = ()
    mirror_axes: tuple[int, ...] = ()

    @property
    def cited(self) -> tuple[str, ...]:
        """What to cite: the work, then the data."""
        of_data = [str(facts["citation"]) for facts in self.data.values() if facts.get("citation")]
        return tuple(dict.fromkeys([*self.citations, *of_data]))

    def to_dict(self) -> dict:
        """Plain containers, of what is known."""
        values = {
            "data": {name: dict(facts) for name, facts in self.data.items()},
            "commit": self.commit,
            "licence": self.licence,
            "scores": {name: dict(scores) for name, scores in self.scores.items()},
            "citations": list(self.citations),
            "mirror_axes": list(self.mirror_axes),
        }
        return {key: value for key, value in values.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Provenance":
        """Of ``to_dict`` of any version."""
        return cls(
            data=dict(values.get("data", {})),
            commit=values.get("commit", ""),
            licence=values.get("licence", ""),
            scores=dict(values.get("scores", {})),
            citations=tuple(values.get("citations", ())),
            mirror_axes=tuple(values.get("mirror_axes", ())),
        )
