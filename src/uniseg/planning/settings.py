"""Settings of a plan: keys of ``conf/prepare.yaml``, for YAML, command line and Python."""

from dataclasses import dataclass, field
from pathlib import Path

from uniseg.planning.budget import BUDGET
from uniseg.settings import CHANNELS, PRECISIONS, bounded, check_fields, number, sequence, word

SPACINGS = ("given", "nnunet")


@dataclass(frozen=True)
class PlanSettings:
    """What a user chooses of a plan.

    Attributes:
        gpu_memory_gb: of one GPU, in 10⁹ bytes.
        measure_memory: on this machine's GPU instead of modelling it.
        plan_spacing: of ``SPACINGS``: the task files' or nnU-Net's rule.
        plan_share_within: tasks of one input whose spacings differ by no more than this factor get one; 1 leaves them.
        plan_width: channels of the first stage, of the widest.
        plan_precision: of the planned training.
        budget: how long it runs, of ``budget.NAMES``, or a time on this machine, into which the network is made to fit.
        plan_output: the experiment file that is written.

    Raises:
        InputError: a value that no plan can have.

    Examples:
        >>> PlanSettings(gpu_memory_gb=24).plan_width
        (32, 320)
    """

    gpu_memory_gb: float = field(metadata=bounded(number(above=0, most=10_000)))
    measure_memory: bool = False
    plan_spacing: str = field(default="given", metadata=bounded(word(*SPACINGS)))
    plan_share_within: float = field(default=1, metadata=bounded(number(least=1)))
    plan_width: tuple[int, ...] = field(
        default=(32, 320), metadata=bounded(sequence(CHANNELS, length=2, ascending=True))
    )
    plan_precision: str = field(default="16-mixed", metadata=bounded(word(*PRECISIONS)))
    budget: str = field(default="standard", metadata=bounded(BUDGET))
    plan_output: Path = Path("conf/experiment/planned.yaml")

    def __post_init__(self) -> None:
        check_fields(self)
