"""What the rounds of a site depend on."""

import os
from types import SimpleNamespace

from uniseg.adaptation.settings import AdaptSettings
from uniseg.adaptation.site import _key
from uniseg.datasets.case import Case


def test_other_slices_in_a_folder_of_the_same_name_are_another_scan(tmp_path):
    folder = tmp_path / "0001"
    folder.mkdir()
    (folder / "slice.dcm").write_bytes(b"one")
    pairs = [(Case("0001", "0001", (folder,), None), None)]

    def key():
        return _key(SimpleNamespace(checkpoint_hash="a"), pairs, AdaptSettings(mode="site"))

    before = key()
    assert key() == before
    (folder / "slice.dcm").write_bytes(b"two")
    os.utime(folder / "slice.dcm", ns=(1, 1))
    assert key() != before
