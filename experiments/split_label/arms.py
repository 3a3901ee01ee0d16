"""The arms of the study: how a network is told its task, and which networks each arm needs."""

from dataclasses import dataclass

PARTS = ("anterior", "posterior")


@dataclass(frozen=True)
class Arm:
    """What a network is, which tasks each of its networks learns, how long."""

    overrides: tuple[str, ...] = ()
    networks: tuple[tuple[str, ...], ...] = (PARTS,)
    fraction: float = 1.0  # of the steps, for each network


UNTOLD = ("model/conditioning=none",)
SINGLE, HALF = "single, all steps each", "single, half of the steps each"
ORACLE, LEARNED = "fully labelled", "UniSeg"
ARMS = {
    SINGLE: Arm(UNTOLD, (PARTS[:1], PARTS[1:])),
    HALF: Arm(UNTOLD, (PARTS[:1], PARTS[1:]), 0.5),
    LEARNED: Arm(),
    "frozen random prompt": Arm(("model.conditioning.learned=false",)),
    "FiLM": Arm(("model/conditioning=film",)),
    "FiLM + FUSE": Arm(("model/conditioning=combined",)),
    "per-task heads": Arm((*UNTOLD, "model/head=per_task")),
    "DoDNet": Arm(("model/conditioning=one_hot", "model/head=dynamic")),
    "not told": Arm(UNTOLD),
    ORACLE: Arm(UNTOLD, (("whole",),)),
}
