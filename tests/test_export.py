"""Scores that go onto a card are of the weights that are exported."""

import re

import pytest

from uniseg.errors import InputError
from uniseg.export import card_scores

BROKEN = [
    b"",
    b"[]",
    b"\xff\xfe",
    b'{"tasks": []}',
    b'{"tasks": {"liver": {"dice": "high"}}}',
    b'{"tasks": {"liver": 7}}',
]


@pytest.mark.parametrize("content", BROKEN)
def test_scores_of_another_kind_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        card_scores(path, "aa")


def test_scores_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        card_scores(tmp_path / "none.json", "aa")
