"""How far trainings that differ in their seed alone lie apart: the spread that a verdict on one training is given.

python experiments/training_luck/run.py
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import f

HERE = Path(__file__).parent
RECORDS = HERE.parent
RECIPE, RANDOM = "base, norms restored, sawtooth", "random weights"


def differences() -> Iterator[tuple[str, Sequence[float]]]:
    """What is compared, and the difference of the mean Dice of both, seed by seed; of at most five training patients.

    Patients and patches of a seed are the same on both sides, so that what remains is the luck of the two trainings.
    """
    rows = read("split_label")["heads"]["5"]["test_dice"]
    dice = {arm: row["by_seed"] for arm, row in rows.items() if "by_seed" in row}
    for arm in ("UniSeg", "frozen random prompt", "FiLM", "per-task heads", "fully labelled"):
        yield f"split_label, 5 heads, {arm} - single", minus(dice[arm], dice["single, all steps each"])
    few = {(each["start"], each["num_patients"]): each["seeds"] for each in read("fewshot")["points"]}
    for number in (1, 2, 5):
        yield f"fewshot, {number} heads, upstream - scratch", minus(few["upstream", number], few["scratch", number])
    grown = {(each["arm"], each["patients"]): each["dice"] for each in read("growing")["rows"]}
    alone = grown["alone, from new weights", 2]
    yield "growing, 2 patients, all trained - alone", minus(grown["added, all trained", 2], alone)
    for name in ("results", "results_demo_base"):
        dice = read("phantom_transfer", name)["test_dice"]
        recipe, new = (dice[f"stomach, 2 patients, {arm}"] for arm in (RECIPE, "new weights"))
        yield f"phantom_transfer, {name}, 2 patients, recipe - new weights", minus(recipe, new)
    draws = read("phantom_transfer", "misfits")["differences"]
    yield "phantom_transfer, misfits, random weights - new weights", draws[RANDOM]


def read(experiment: str, name: str = "results") -> dict:
    return json.loads((RECORDS / experiment / f"{name}.json").read_text())


def minus(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [float(a - b) for a, b in zip(values, others, strict=True)]


def fit(spreads: Sequence[float], numbers: Sequence[int]) -> tuple[float, float]:
    """Standard deviation and degrees of freedom of the prior under which ``spreads`` of so many differences are most
    likely: each variance is the prior's times an F-distributed number (Smyth 2004).
    """
    variances, own = np.array(spreads) ** 2, np.array(numbers) - 1

    def loss(logs: np.ndarray) -> float:
        scale, degrees = np.exp(logs)
        return -float(np.sum(f.logpdf(variances / scale, own, degrees) - np.log(scale)))

    scale, degrees = np.exp(minimize(loss, np.log([np.median(variances), 2.0]), method="Nelder-Mead").x)
    return float(np.sqrt(scale)), float(degrees)


def main() -> None:
    found = dict(differences())
    spreads = {name: float(np.std(values, ddof=1)) for name, values in found.items()}
    sd, degrees = fit([*spreads.values()], [len(values) for values in found.values()])
    content = {"sd_of_a_difference": sd, "degrees": degrees, "spreads": spreads}
    (HERE / "results.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
