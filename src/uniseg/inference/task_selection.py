"""Which tasks fit a scan, and why."""

from collections.abc import Sequence

from uniseg.errors import InputError
from uniseg.preprocessing.modality import Guess, kind_of
from uniseg.task import Task, TaskSet

STATE = "state what the channels are, modality=[CT] for instance"


def fitting_tasks(tasks: TaskSet, modalities: Sequence[str]) -> list[str]:
    """Names of the tasks of these modalities; those that a task declares optional may be missing.

    Raises:
        InputError: no task has these modalities.
    """
    given = set(modalities)
    names = [task.name for task in tasks if set(task.modalities) - set(task.optional) <= given <= set(task.modalities)]
    if not names:
        raise InputError(
            "modality",
            "+".join(modalities),
            f"one of {', '.join(_known(tasks))}",
            "correct modality=[...] or choose another checkpoint",
        )
    return names


def guessed_tasks(tasks: TaskSet, guesses: Sequence[Guess], where: str) -> list[str]:
    """Names of the tasks with as many modalities of the same kinds in the same order.

    Kinds are CT, MR, PET: values do not tell sequences of MR apart.

    Raises:
        InputError: no task has such modalities, or the scan looks like nothing that is known.
    """
    unknown = [f"channel {i}: {guess.reason}" for i, guess in enumerate(guesses) if not guess.kind]
    if unknown:
        raise InputError(where, "; ".join(unknown), "a scan that looks like CT, MR or PET", STATE)
    kinds = [guess.kind for guess in guesses]
    names = [task.name for task in tasks if kinds_of(task) == kinds]
    if not names:
        found = "+".join(kinds) + f" ({'; '.join(guess.reason for guess in guesses)})"
        raise InputError(where, found, f"one of {', '.join(_known(tasks))}", f"if that is wrong, {STATE}")
    return names


def kinds_of(task: Task) -> list[str]:
    """CT, MR or PET per modality."""
    return [kind_of(modality) for modality in task.modalities]


def explain_selection(tasks: TaskSet, names: Sequence[str], guesses: Sequence[Guess]) -> str:
    """One line: what the scan was taken for, which tasks fit, which do not."""
    taken = ", ".join(f"{guess.kind} ({guess.reason})" for guess in guesses)
    others = [f"{task.name} ({'+'.join(task.modalities)})" for task in tasks if task.name not in names]
    mr = {"+".join(task.modalities) for task in tasks if task.name in names and "MR" in kinds_of(task)}
    doubt = f"; taken for {' or '.join(sorted(mr))}, since values do not tell sequences apart" if mr else ""
    return f"{taken}{doubt}: {', '.join(names)}" + (f"; does not fit: {', '.join(others)}" if others else "")


def _known(tasks: TaskSet) -> list[str]:
    return sorted({"+".join(task.modalities) for task in tasks})
