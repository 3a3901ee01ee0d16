"""What a service does not take: one clear answer each, and nothing left behind."""

import gzip
import io
import json
import socket
import struct
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from http.client import HTTPResponse
from threading import Event
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest

from served import AFFINE, LONGEST_S, TOKEN, running, save_scan
from uniseg.service import access
from uniseg.service.intake import DEFLATED_DICOM
from uniseg.service.uniseg_client import Client, ServiceError


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A service of tight limits, without a token."""
    limits = {"max_upload_gb": 0.004, "max_unpacked_gb": 0.003, "max_files": 10, "max_megavoxels": 0.5, "idle_s": 0.5}
    with running(tmp_path_factory.mktemp("small"), **limits) as service:
        yield service


def send(server, path, body=b"", method="POST", **headers):
    """(status, what the answer says)."""
    request = urllib.request.Request(server + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]


def zipped(*members, packing=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def packed_nifti(shape, voxels, dtype=np.int16):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(AFFINE, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return gzip.compress(header.binaryblock + b"\0" * 4 + voxels)


def nrrd(*lines, voxels=b""):
    head = ["NRRD0005", "type: short", "dimension: 3", "sizes: 4 4 4", "spacings: 1 1 1", *lines]
    return "\n".join(head).encode() + b"\n\n" + voxels


DICOM = b"\0" * 128 + b"DICM"
ZEROS = b"\0" * (8 << 20)
BAD = {
    "a zip bomb": (
        "bomb.zip",
        zipped(("1.dcm", ZEROS)),
        413,
        r"bomb\.zip: found more, unpacked; expected at most 0\.003",
    ),
    "too many files": (
        "many.zip",
        zipped(*((f"{k}", DICOM) for k in range(11))),
        413,
        "found 11 files; expected at most",
    ),
    "a large directory": ("many.zip", zipped(*((f"{k}" * 60, b"") for k in range(200))), 413, "a directory of"),
    "another packing": ("a.zip", zipped(("1.dcm", DICOM), packing=zipfile.ZIP_BZIP2), 422, "packed in another way"),
    "no zip": ("a.zip", b"PK\3\4 and no more", 422, r"a\.zip: found no end of a zip"),
    "a cut zip": ("a.zip", b"x" * 300 + zipped(("1.dcm", DICOM * 9))[40:], 422, "a damaged zip"),
    "no DICOM in a zip": (
        "a.zip",
        zipped(("../../etc/slice", b"root")),
        422,
        r"'\.\./\.\./etc/slice', which is no DICOM",
    ),
    "an empty zip": ("a.zip", zipped(("a.txt", b"text")), 422, "found no DICOM file"),
    "a deflated DICOM": ("a.zip", zipped(("1.dcm", DICOM + DEFLATED_DICOM)), 422, "found a deflated DICOM file"),
    "a gzip bomb": ("a.nii.gz", packed_nifti((4, 4, 4), ZEROS), 413, r"a\.nii\.gz: found more, unpacked"),
    "a cut gzip": (
        "a.nii.gz",
        packed_nifti((8, 8, 8), bytes(range(256)) * 4)[:-30],
        422,
        "packed voxels that end early",
    ),
    "too many voxels": (
        "a.nii.gz",
        packed_nifti((200, 200, 30), ZEROS[:2400000]),
        413,
        "1 million voxels; expected at most",
    ),
    "a header that lies": ("a.nii.gz", packed_nifti((60, 60, 60), b"", np.float64), 422, "a header that claims"),
    "no NIfTI": ("a.nii", b"what is this" * 50, 422, r"a\.nii: found no NIfTI header"),
    "no gzip": ("a.nii.gz", b"what is this" * 50, 422, r"a\.nii\.gz: found no gzip file"),
    "a NRRD that names a file": (
        "a.nrrd",
        nrrd("encoding: raw", "data file: /etc/passwd"),
        422,
        "voxels in another file",
    ),
    "a NRRD in bzip2": ("a.nrrd", nrrd("encoding: bzip2"), 422, "encoding 'bzip2'"),
    "a gzip bomb in a NRRD": (
        "a.nrrd",
        nrrd("encoding: gzip", "endian: little", voxels=gzip.compress(ZEROS)),
        413,
        r"a\.nrrd: found more, unpacked",
    ),
    "nothing": ("a.nii", b"", 422, "found an empty body"),
    "another ending": ("a.exe", b"MZ", 415, r"filename 'a\.exe': found another ending"),
    "too many bytes": ("a.nii", ZEROS[:5000000], 413, r"found 0\.005 GB or more; expected at most 0\.004 GB"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_gets_one_clear_line(small, name):
    filename, body, status, line = BAD[name]
    answer = send(small.server, f"/uploads?filename={filename}", body)
    assert answer[0] == status, answer
    with pytest.raises(AssertionError, match=line):
        raise AssertionError(answer[1])
    assert str(small.store.folder) not in answer[1]
    assert "\n" not in answer[1]
    assert small.files() == []
    assert small.store.num_bytes() == 0


def test_a_length_that_is_not_said_is_counted(small):
    status, line = send(
        small.server, "/uploads?filename=a.nii", iter([ZEROS[: 1 << 20]] * 5), **{"Transfer-Encoding": "chunked"}
    )
    assert (status, small.files()) == (413, [])
    assert "GB or more" in line


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x.nii", "/etc/x.nii", "..%5C..%5Cx.nii", "%00.nii", "a" * 5000 + ".nii", "%E2%80%AE.nii"]
)
def test_a_name_is_never_a_path(small, tmp_path, name):
    body = save_scan(tmp_path / "scan.nii", shape=(8, 8, 8)).read_bytes()
    status, answer = send(small.server, f"/uploads?filename={name}", body)
    upload = json.loads(answer)
    assert status == 201
    assert len(upload["name"]) <= 100
    assert small.files() == [f"uploads/{upload['id']}/scan.nii", f"uploads/{upload['id']}/upload.json"]
    small.client.delete("uploads", upload["id"])


@pytest.mark.parametrize("place", ["/jobs/..%2F..", "/jobs/x/results/..%2F..%2Fjob.json", "/uploads/..%2F..%2Fx"])
def test_an_id_is_looked_up_not_opened(small, place):
    method = "DELETE" if place.startswith("/uploads") else "GET"
    assert send(small.server, place, None, method)[0] == 404


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({}, "both or none of image, images"),
        ({"image": "x"}, "upload 'x': found none"),
        ({"image": "$", "tasks": ["livr"]}, "tasks: found 'livr'; expected names among liver, spleen, tumour, or auto"),
        ({"images": {"T1": "$"}}, "images: found 'T1'; expected names among CT, PET"),
        ({"images": {"CT": "$"}, "tasks": ["tumour"]}, "task 'tumour': found no PET"),
        ({"image": "$", "format": "png"}, "format: found 'png'; expected one of nifti, nrrd, dicom_seg, rtstruct"),
        ({"image": "$", "output": "/tmp"}, "body.output: found '/tmp'"),
        ({"image": "$", "tasks": []}, "body.tasks: found '[]'"),
    ],
)
def test_a_bad_job_gets_one_clear_line(small, tmp_path, request_, line):
    upload = small.client.upload(save_scan(tmp_path / "scan.nii", shape=(8, 8, 8)))["id"]
    body = json.dumps(request_).replace("$", upload).encode()
    status, said = send(small.server, "/jobs", body, **{"Content-Type": "application/json"})
    assert status in (404, 422)
    assert line in said
    small.client.delete("uploads", upload)


def test_other_bodies_are_small(small):
    status, line = send(small.server, "/jobs", b" " * 70000, **{"Content-Type": "application/json"})
    assert (status, line[:30]) == (413, "request: found a body that is ")


def begun_upload(service, num_bytes=1 << 20):
    """A connection that has sent half of what it said."""
    host, _, port = urlsplit(service.server).netloc.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=LONGEST_S)
    head = f"POST /uploads?filename=a.nii HTTP/1.1\r\nHost: {host}\r\nContent-Length: {num_bytes}\r\n\r\n"
    connection.sendall(head.encode() + b"\0" * (num_bytes // 2))
    return connection


def test_an_upload_that_is_cut_leaves_nothing(small, monkeypatch):
    ended, receiving = Event(), small.store.receiving

    @contextmanager
    def noted(name):
        try:
            with receiving(name) as incoming:
                yield incoming
        finally:
            ended.set()

    monkeypatch.setattr(small.store, "receiving", noted)
    begun_upload(small).close()
    assert ended.wait(LONGEST_S)
    assert (small.files(), small.store.incoming) == ([], {})


def test_an_upload_that_stands_still_is_given_up(small):
    with begun_upload(small) as connection, HTTPResponse(connection) as answer:
        answer.begin()
        assert answer.status == 408
        assert json.loads(answer.read())["error"].startswith("a.nii: found no byte for 0.5 s; expected all of it")
    assert small.files() == []


def test_a_token_is_asked_for(served, tmp_path):
    scan = save_scan(tmp_path / "scan.nii", shape=(8, 8, 8))
    for token, line in (("", "found no token"), ("wrong", "found a wrong token"), (TOKEN[:-1], "wrong token")):
        for ask in (lambda client: client.tasks(), lambda client: client.run(scan, tmp_path / "out")):
            with pytest.raises(ServiceError, match=line) as refused:
                ask(Client(served.server, token))
            assert refused.value.status == 401
    assert send(served.server, "/healthz", None, "GET")[0] == 200
    for path in ("/jobs/x", "/jobs/x/results/liver"):
        assert send(served.server, path, None, "GET")[0] == 401
    for path in ("/jobs/x", "/uploads/x"):
        assert send(served.server, path, None, "DELETE")[0] == 401
    assert send(served.server, "/uploads?filename=a.nii", ZEROS[: 1 << 20])[0] == 401
    assert served.files() == []


def test_without_a_token_no_web_page_may_ask(small):
    assert send(small.server, "/tasks", None, "GET")[0] == 200
    for headers in ({"Origin": "https://example.org"}, {"Host": "rebound.example.org"}, {"Host": "192.168.0.7:80"}):
        status, line = send(small.server, "/tasks", None, "GET", **headers)
        assert (status, "expected a program of this machine" in line) == (403, True)


@pytest.mark.parametrize(
    ("host", "is_one"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_beyond_this_machine_there_is_always_a_token(host, is_one):
    assert access.is_loopback(host) is is_one
    assert (access.chosen_token(None, host) is None) is is_one
    assert access.chosen_token("mine-is-long", host) == "mine-is-long"


def test_a_lie_about_sizes_is_counted_as_it_is(small):
    """A directory that says 10 bytes of what unpacks to megabytes."""
    body = bytearray(zipped(("1.dcm", DICOM + ZEROS)))
    at = body.rindex(b"PK\1\2")
    body[at + 24 : at + 28] = struct.pack("<I", 10)
    status, line = send(small.server, "/uploads?filename=a.zip", bytes(body))
    assert status in (413, 422)
    assert "a.zip: found" in line
    assert small.files() == []
