"""What is given for weights by mistake is called by what it is."""

import gzip
import struct
import zipfile
from io import BytesIO

import pytest
from safetensors.torch import save

from uniseg import InputError, load_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.reading import reading


def archive() -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("model/weights.txt", "hello")
    return packed.getvalue()


MISTAKEN = {
    "an empty file": b"",
    "text": b"root:x:0:0:root:/root:/bin/bash\n",
    "a web page": b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "a Git LFS pointer, not the file that it stands for": b"version https://git-lfs.github.com/spec/v1\nsize 1\n",
    "a safetensors file": save({}, {"format": "pt"}),
    "a zip archive without a model": archive(),
    "a gzip file": gzip.compress(b"hello"),
    "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a NIfTI image": struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(200),
    "a DICOM image": bytes(128) + b"DICM" + bytes(200),
    "data of an unknown kind": bytes(range(255, 127, -1)) * 10,
}


@pytest.mark.parametrize(("kind", "content"), MISTAKEN.items(), ids=MISTAKEN)
@pytest.mark.parametrize("read", [load_model, open_source])
def test_the_message_names_the_kind(read, kind, content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: found {kind}; expected a checkpoint")


def test_errors_of_content_name_the_file_and_those_that_name_it_pass():
    for error, message in (
        (KeyError("x"), "a.ckpt: found KeyError ('x'); expected weights; fetch it again"),
        (
            RecursionError("deep\nand deep"),
            "a.ckpt: found RecursionError (deep and deep); expected weights; fetch it again",
        ),
        (OSError(13, "Permission denied"), "a.ckpt: found Permission denied; expected weights; fetch it again"),
        (
            InputError("task 'x'", "y", "z", "correct the task file"),
            "a.ckpt: task 'x': found y; expected z; fetch it again",
        ),
        (InputError("a.ckpt", "y", "z", "w"), "a.ckpt: found y; expected z; w"),
        (InputError("a.ckpt/model.json", "y", "z", "w"), "a.ckpt/model.json: found y; expected z; w"),
    ):
        with pytest.raises(InputError) as caught, reading("a.ckpt", "weights", "fetch it again"):
            raise error
        assert str(caught.value) == message
    with pytest.raises(KeyboardInterrupt), reading("a.ckpt", "weights", "fetch it again"):
        raise KeyboardInterrupt
