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
SEEDS = 3


def differences() -> Iterator[tuple[str, Sequence[float]]]:
    """What is compared, and the difference of the mean test Dice of both, seed by seed: patients and patches of a seed
    are the same on both sides, so that what remains is the luck of the two trainings.
    """
    heads = read("split_label")["heads"]
    for number, table in heads.items():
        dice = {arm: values["by_seed"] for arm, values in table["test_dice"].items() if "by_seed" in values}
        single = dice["single, all steps each"]
        for arm in ("UniSeg", "frozen random prompt", "FiLM", "per-task heads", "fully labelled"):
            yield f"split_label, {number} heads, {arm} - single", minus(dice[arm], single)
    few = {(each["start"], each["num_patients"]): each["seeds"] for each in read("fewshot")["points"]}
    for number in (1, 2, 5, 10):
        yield f"fewshot, {number} patients, upstream - scratch", minus(few["upstream", number], few["scratch", number])
    rows = {
        (each["arm"].split(",")[0], each["arm"], each["patients"]): each["dice"] for each in read("growing")["rows"]
    }
    for number in (2, 16):
        arms = [dice for (_, arm, patients), dice in rows.items() if patients == number]
        yield f"growing, {number} patients, all trained - alone", minus(arms[1], arms[2])
    for name in ("results", "results_demo_base"):
        dice = read("phantom_transfer", name)["test_dice"]
        for key in (key for key in dice if key.endswith("base, norms restored, sawtooth")):
            new = key.replace("base, norms restored, sawtooth", "new weights")
            yield f"phantom_transfer, {key}", minus(dice[key], dice[new])
    dice = read("completion")["dice"]
    yield "completion, with - without", minus(dice["with"], dice["without"])


def read(experiment: str, name: str = "results") -> dict:
    return json.loads((RECORDS / experiment / f"{name}.json").read_text())


def minus(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [float(a - b) for a, b in zip(values, others, strict=True)]


def fit(variances: np.ndarray) -> tuple[float, float]:
    """Standard deviation and degrees of freedom of the prior under which variances of ``SEEDS - 1`` degrees are most
    likely: each is the prior's variance times an F-distributed number (Smyth 2004).
    """

    def loss(logs: np.ndarray) -> float:
        scale, degrees = np.exp(logs)
        return -float(np.sum(f.logpdf(variances / scale, SEEDS - 1, degrees) - np.log(scale)))

    scale, degrees = np.exp(minimize(loss, np.log([np.median(variances), 2.0]), method="Nelder-Mead").x)
    return float(np.sqrt(scale)), float(degrees)


def main() -> None:
    found = dict(differences())
    spreads = {name: float(np.std(values, ddof=1)) for name, values in found.items()}
    sd, degrees = fit(np.array(list(spreads.values())) ** 2)
    content = {"sd_of_a_difference": sd, "degrees": degrees, "spreads": spreads}
    (HERE / "results.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
