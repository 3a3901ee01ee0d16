"""Codes of classes: what is taken, what the shipped task files say."""

from pathlib import Path

import pytest
import yaml
from pydicom.sr.codedict import codes as known

from samples import make_task
from uniseg import InputError, Task
from uniseg.datasets.source import make_task as task_of_block
from uniseg.terminology import ClassCodes

TASK_FILES = [
    path
    for path in sorted((Path(__file__).parents[1] / "conf" / "task").glob("*.yaml"))
    if "objective" not in yaml.safe_load(path.read_text())  # pretext tasks write no classes
]


def test_the_shipped_codes_are_those_of_the_standard():
    """By pydicom's tables, which are DICOM's; their meanings without the kind in brackets."""
    meanings = {}
    for name in dir(known.SCT):
        code = getattr(known.SCT, name)
        if hasattr(code, "meaning"):
            meanings.setdefault(code.value, set()).add(code.meaning.partition(" (")[0].casefold())
    blocks = [yaml.safe_load(path.read_text())["codes"] for path in TASK_FILES]
    texts = {text for block in blocks for each in block.values() for text in each.values()}
    pairs = [text.casefold().split(" ", 1) for text in sorted(texts)]
    assert len(pairs) > 30
    assert [pair for pair in pairs if pair[1] not in meanings.get(pair[0], ())] == []


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_every_shipped_class_has_codes(path):
    block = yaml.safe_load(path.read_text())
    task = task_of_block(path.stem, {key: value for key, value in block.items() if key != "source"})
    assert len(task.codes) == task.num_classes - 1
    assert all(task.codes)


def test_codes_survive_a_checkpoint_and_change_no_identity():
    bare = make_task("kidney", classes=("background", "kidney", "tumour"))
    coded = Task.from_dict(bare.to_dict() | {"codes": [{"type": "64033007 Kidney"}, None]})
    assert coded.codes == (ClassCodes("64033007 Kidney"), None)
    assert Task.from_dict(coded.to_dict()).codes == coded.codes
    assert coded == bare
    assert "codes" not in bare.to_dict()
    assert coded.definition() == bare.definition() == bare.to_dict()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"liver": {"type": "10200004 Liver"}}, r"codes of \['liver'\]; expected of \['kidney'\]"),
        ({"kidney": {"type": "Kidney"}}, r"type 'Kidney'; expected a SNOMED CT number"),
        ({"kidney": {"type": "64033007 Kidney", "side": "24028007 Right"}}, "codes .*side.*; expected type"),
        ([], None),
        ([None, None], r"codes \[None, None\]"),
    ],
)
def test_other_codes_are_refused(codes, message):
    values = make_task("kidney", classes=("background", "kidney")).to_dict() | {"codes": codes}
    if message is None:
        assert Task.from_dict(values).codes == ()
        return
    with pytest.raises(InputError, match=message):
        Task.from_dict(values)
