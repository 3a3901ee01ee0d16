"""The client is one file without libraries; the page of the addresses loads nothing."""

import json
import re
import subprocess
import urllib.request

import pytest

from served import LONGEST_S, TOKEN, save_scan
from started import PYTHON
from uniseg.service.uniseg_client import Client, ServiceError, main

NO_LIBRARIES = "import sys, uniseg_client; print([m for m in ('torch', 'numpy', 'uniseg') if m in sys.modules])"


def fetch(server, path):
    with urllib.request.urlopen(server + path, timeout=LONGEST_S) as answer:
        return answer.headers["content-type"], answer.read().decode()


def test_the_client_that_the_service_hands_out_runs_alone(served, tmp_path):
    path = tmp_path / "uniseg_client.py"
    path.write_text(fetch(served.server, "/client.py")[1])
    alone = {
        "cwd": tmp_path,
        "capture_output": True,
        "text": True,
        "timeout": LONGEST_S,
        "env": {"UNISEG_TOKEN": TOKEN},
    }
    command = [PYTHON, "-S", str(path), "--server", served.server, "tasks"]
    done = subprocess.run(command, check=False, **alone)
    assert done.stdout.splitlines() == [
        "liver: CT -> liver, tumour",
        "spleen: CT -> spleen",
        "tumour: CT + PET -> tumour",
    ]
    assert (done.stderr, done.returncode) == ("", 0)
    loaded = subprocess.run([PYTHON, "-S", "-c", NO_LIBRARIES], check=False, **alone)
    assert loaded.stdout.strip() == "[]"


def test_its_command_line(served, tmp_path, capsys):
    base = ["--server", served.server, "--token", TOKEN]
    ct, pet = save_scan(tmp_path / "ct.nii.gz", 1, (8, 20, 20)), save_scan(tmp_path / "pet.nii.gz", 2, (8, 20, 20))
    out = tmp_path / "out"
    assert main([*base, "run", f"CT={ct}", f"PET={pet}", str(out), "--tasks", "tumour"]) == 0
    assert capsys.readouterr().out == f"{out}/tumour/ct.nii.gz\n"
    for arguments, line in (
        (["run", str(ct), str(pet), str(out)], "error: several scans: give <modality>=<path> for each"),
        (["run", str(tmp_path / "no.nii"), str(out)], f"error: {tmp_path}/no.nii: no such file"),
        (["run", str(ct), str(out), "--tasks", "livr"], "error: tasks: found 'livr'; expected names among liver"),
    ):
        assert main([*base, *arguments]) == 2
        assert capsys.readouterr().err.startswith(line)
    assert served.files() == []


def test_a_service_that_is_not_there():
    with pytest.raises(ServiceError, match=r"no answer of the service: .*refused") as refused:
        Client("http://127.0.0.1:9").tasks()
    assert refused.value.status == 0


def test_too_large_a_file_is_not_sent(served, tmp_path, monkeypatch):
    scan = save_scan(tmp_path / "scan.nii", shape=(8, 20, 20))
    limits = {"limits": {"max_upload_bytes": 1000}}
    monkeypatch.setattr(Client, "tasks", lambda self: limits)
    with pytest.raises(ServiceError, match=r"scan\.nii: found \d+ bytes; expected at most 1000"):
        served.client.upload(scan)


def test_what_on_progress_raises_ends_the_job(served, tmp_path):
    def stop(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        served.client.run(save_scan(tmp_path / "scan.nii"), tmp_path / "out", on_progress=stop)
    assert served.store.jobs == {}
    assert served.store.uploads == {}


def test_the_page_loads_nothing_and_names_every_address(served):
    kind, page = fetch(served.server, "/docs")
    description = json.loads(fetch(served.server, "/openapi.json")[1])
    assert kind.startswith("text/html")
    assert re.findall(r"<script|<link|<img|src=|url\(|@import", page) == []
    assert set(re.findall(r'href="([^"]*)"', page)) == {"openapi.json", "client.py"}
    assert set(description["paths"]) == {
        *("/healthz", "/client.py", "/tasks", "/uploads", "/uploads/{upload_id}"),
        *("/jobs", "/jobs/{job_id}", "/jobs/{job_id}/results/{task}"),
    }
    assert all(f"</span>{path}</code>" in page for path in description["paths"])
    assert set(description["components"]["schemas"]) >= {"JobRequest", "JobAnswer", "Network", "ErrorAnswer"}
    assert "Examples" not in page
    assert description["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
