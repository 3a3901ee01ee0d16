"""The card shows what strangers wrote, and does what none of it says."""

import pytest

from samples import make_task, small_model
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.card import model_card

HOSTILE = {
    "a|b": r"a\|b",
    "a\n\n# b": r"a \# b",
    "`x`": r"\`x\`",
    "<script>alert(1)</script>": r"\<script\>alert(1)\</script\>",
    "[x](javascript:alert(1))": r"\[x\](javascript:alert(1))",
    "![x](http://a.example/x.png)": r"\!\[x\](http://a.example/x.png)",
    "=cmd": "=cmd",
    "*a* __b__ c_d": r"\*a\* \_\_b\_\_ c_d",
    "$\\frac$ &lt;": r"\$\\frac\$ \&lt;",
    "~~a~~": r"\~\~a\~\~",
}


def rows(card: str, name: str) -> list[list[str]]:
    """Cells of the table rows whose first cell is ``name``."""
    lines = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items(), ids=HOSTILE)
def test_a_licence_and_a_homepage_are_text(text, shown):
    model = small_model(TaskSet([make_task()]))
    model.provenance = Provenance.from_dict(
        {"commit": text, "data": {"liver": {"licence": text, "homepage": text, "train": ["a"]}}}
    )
    card = model_card(model)
    assert rows(card, "liver")[1][-2:] == [shown, shown]
    assert f"training data: unknown ({shown}).**" in card
    assert f"Trained at commit {shown};" in card


def test_names_are_text():
    name = "a|`x`"
    model = small_model(TaskSet([make_task(name, classes=("background", "<b>", "=1+1"))]))
    model.provenance = Provenance.from_dict({"scores": {name: {"num_cases": 2, "dice": 0.5}}})
    card = model_card(model)
    shown = r"a\|\`x\`"
    tasks, data, scores = rows(card, shown)
    assert tasks == [shown, "CT", r"\<b\>, =1+1", "2, 1, 1"]
    assert len(data) == 7
    assert scores == [shown, "2", "0.500", "-", "-"]
    assert '["<task>"]' in card, "no name of a stranger in lines to be copied"


def test_the_weights_own_licence_and_what_to_cite_are_shown():
    model = small_model(TaskSet([make_task()]))
    assert "Licence of the weights" not in model_card(model)
    model.provenance = Provenance(licence="research use", citations=("A. *B*: C. 2023.",))
    card = model_card(model)
    assert "\nLicence of the weights: research use.\n" in card
    assert "## Cite\n\nA. \\*B\\*: C. 2023.\n" in card


def test_the_lines_to_be_copied_name_a_task():
    card = model_card(small_model(TaskSet([make_task("hepatic_vessel")])))
    assert '["hepatic_vessel"]' in card
    assert "tasks=[hepatic_vessel]" in card
    assert rows(card, "hepatic_vessel")
