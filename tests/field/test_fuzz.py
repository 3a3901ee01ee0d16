"""Hostile inputs through the commands: no traceback, no hang, nothing half-written or out of place."""

import pytest

from field.fuzz import run_trials, summary
from field.world import World, make_world

pytestmark = pytest.mark.slow

COUNTS = {"weights": 150, "tables": 150, "scans": 150, "settings": 150, "disk": 30, "kills": 60}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    made = make_world(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.commands.close()


@pytest.mark.parametrize("kind", [*COUNTS])
def test_no_bad_end(world, kind):
    verdicts = list(run_trials(world, kind, range(COUNTS[kind]), seed=0))
    assert len(verdicts) == COUNTS[kind]
    assert not any(verdict.faults for verdict in verdicts), "\n" + summary(verdicts)
