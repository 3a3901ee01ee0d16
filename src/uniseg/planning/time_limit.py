"""A network that can learn something in the time that there is."""

from collections.abc import Callable
from dataclasses import replace

from uniseg.planning.budget import steps_within
from uniseg.planning.step_cost import Recipe
from uniseg.planning.trial import StepTrial

MIN_BATCH = 2  # nnU-Net's
# 600 with 8 to 64 channels and a batch of 2 find a hippocampus at a Dice of 0.85 (experiments/hippocampus_vs_nnunet).
FEWEST_STEPS = 1_000
NARROWEST = 8  # channels of the first stage


def fit_to_time(
    recipe: Recipe, batch_size: int, seconds: float, measure: Callable[[Recipe, int], StepTrial]
) -> tuple[Recipe, int, StepTrial]:
    """A smaller batch, then half of the width, again and again, until ``FEWEST_STEPS`` fit into the time or nothing can
    be made smaller.

    Args:
        batch_size: the largest.
        measure: a step of a recipe at a batch size.

    Examples:
        >>> def narrower(recipe: Recipe, measure: Callable[[Recipe, int], StepTrial]) -> tuple[int, ...]:
        ...     return fit_to_time(recipe, 5, seconds=600, measure=measure)[0].width
    """
    trial = measure(recipe, batch_size)
    while (steps := steps_within(seconds, trial.seconds)) < FEWEST_STEPS:
        if batch_size > MIN_BATCH:
            batch_size = max(MIN_BATCH, batch_size * steps // FEWEST_STEPS)
        elif recipe.width[0] // 2 >= NARROWEST:
            recipe = replace(recipe, width=(recipe.width[0] // 2, recipe.width[1] // 2))
        else:
            break
        trial = measure(recipe, batch_size)
    return recipe, batch_size, trial
