"""What ``uniseg serve`` says before it serves."""

import pytest

from uniseg import InputError, serve


def test_without_its_libraries_it_names_the_extra(monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"uniseg serve: found no fastapi installed; .*pip install 'uniseg\[serve\]'"):
        serve.main(None)


def test_an_address_that_cannot_be_had_is_named():
    with serve.bound_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"127\.0\.0\.1:{port}: found a port that is in use; .*choose another port="
        ):
            serve.bound_socket("127.0.0.1", port)
    with pytest.raises(InputError, match=r"192\.0\.2\.1:0: found .*; expected an address of this machine"):
        serve.bound_socket("192.0.2.1", 0)


def test_a_bug_is_no_line():
    assert serve.describe(ZeroDivisionError()) is None
    assert serve.describe(InputError("a.nii", "no file", "a scan", "check it")).startswith("a.nii: found no file")
