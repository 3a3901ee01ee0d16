"""Which cases a report leads to, and what the training took."""

from uniseg.evaluation.records import ClassSummary, Score, Summary, TaskSummary
from uniseg.reporting.failures import cases_to_view, failures
from uniseg.reporting.run import CaseResult, Run, TaskResult
from uniseg.reporting.training_cost import cost_rows

LOG = """2026-01-01 10:00:00 Device cpu (2 threads), precision 32-true.
2026-01-01 10:00:10 epoch 0, step 10: train loss 1.4, val loss 0.9, learning rate 0.01, 1800.0 s
2026-01-01 10:00:20 epoch 1, step 20: train loss 1.2, learning rate 0.01, 99.0 s
2026-01-01 11:00:00 Device cuda:0 (NVIDIA H100), 4 processes, precision 16-mixed.
2026-01-01 11:00:20 epoch 1, step 20: train loss 1.2, learning rate 0.01, 1800.0 s
"""


def case(task, case_id, **dice):
    """Class -> Dice, reference in ml, prediction in ml."""
    scores = tuple(Score(task, case_id, case_id, name, d, d, 0.0, r, p) for name, (d, r, p) in dice.items())
    return CaseResult(task, case_id, case_id, scores)


def make_run(*tasks):
    def result(name, cases):
        return TaskResult(name, TaskSummary(0.5, 0.5, 0.1, 1, 1, {"x": ClassSummary(0.5, 0.1)}), cases)

    return Run("run", {}, {}, Summary(0.5, 0.5, 0.1, {}), tuple(result(*each) for each in tasks), {})


ORGANS = (
    "organs",
    (
        case("organs", "a", liver=(0.9, 100, 90)),
        case("organs", "b", liver=(0.0, 100, 0)),
        case("organs", "c", liver=(0.0, 200, 5)),
        case("organs", "d", liver=(0.0, 300, 0)),
    ),
)
LESIONS = (
    "lesions",
    (
        case("lesions", "p", lesion=(0.4, 3, 3), core=(0.6, 1, 1)),
        case("lesions", "q", lesion=(0.0, 0, 7), core=(0.8, 1, 1)),
    ),
)


def test_complete_misses_come_first_the_largest_first():
    rows = failures(make_run(LESIONS, ORGANS), viewed=[("organs", "c")])
    assert [(row.case_id, row.what, row.is_miss) for row in rows] == [
        ("d", "missed, 300 ml", True),
        ("c", "missed, 200 ml", True),
        ("b", "missed, 100 ml", True),
        ("q", "lowest Dice; 7 ml of lesion where there is none", False),
    ]
    assert [row.link for row in rows] == ["#case-1-3", "#view-0", "#case-1-1", "#case-0-1"]


def test_the_viewer_holds_misses_first_and_two_cases_of_a_task():
    viewed = cases_to_view(make_run(LESIONS, ORGANS), most=16)
    assert [(task, each.case_id) for task, each in viewed] == [
        ("organs", "b"),
        ("organs", "c"),
        ("lesions", "q"),
        ("lesions", "p"),
    ]
    assert len(cases_to_view(make_run(LESIONS, ORGANS), most=3)) == 3


def test_hours_and_devices_of_a_training_that_was_resumed(tmp_path):
    assert cost_rows(tmp_path) == []
    (tmp_path / "train.log").write_text(LOG)
    assert cost_rows(tmp_path) == [
        ("training took", "1.00 hours, 2.50 device hours: 2 epochs of 1800.0 s"),
        (
            "trained on",
            "cpu (2 threads), precision 32-true; then cuda:0 (NVIDIA H100), 4 processes, precision 16-mixed",
        ),
    ]
