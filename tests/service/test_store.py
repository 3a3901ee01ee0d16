"""The folder of a service: what is kept how long, what a kill leaves, what the next start makes of it."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from served import running, save_scan
from uniseg import InputError
from uniseg.service.records import QUEUED, RUNNING
from uniseg.service.refusal import RefusedError
from uniseg.service.settings import ServiceSettings
from uniseg.service.store import LOCK, Store
from uniseg.service.uniseg_client import ServiceError


class Clock:
    """Seconds since 1970, as a test says."""

    def __init__(self):
        self.time = 1e9

    def __call__(self):
        return self.time


def store_at(folder, clock=None, **settings):
    return Store(ServiceSettings(store=str(folder), **settings), clock or Clock())


def add_upload(store, num_bytes=10):
    with store.receiving("scan.nii") as incoming:
        incoming.reserve(num_bytes)
        (incoming.folder / "scan.nii").write_bytes(bytes(num_bytes))
        return store.keep(incoming, "scan.nii").id


def add_job(store, upload, **more):
    job = store.add_job(images=(upload,), tasks=("liver",))
    store.save(replace(job, **more))
    return job.id


def test_what_nothing_waits_for_goes_after_its_time(tmp_path):
    clock = Clock()
    with store_at(tmp_path / "store", clock, keep_minutes=10).opened() as store:
        store.recover()
        needed, unneeded = add_upload(store), add_upload(store)
        waiting = add_job(store, needed)
        finished = add_job(store, unneeded, state="done", finished=clock.time)
        clock.time += 600
        store.expire()
        assert set(store.uploads) == {needed, unneeded}
        assert set(store.jobs) == {waiting, finished}
        clock.time += 1
        store.upload(unneeded)  # asked for
        store.expire()
        assert set(store.uploads) == {needed, unneeded}
        assert set(store.jobs) == {waiting}
        clock.time += 601
        store.expire()
        assert set(store.uploads) == {needed}
        assert sorted(path.name for path in store.uploads_dir.iterdir()) == [needed]


def test_a_full_store_drops_the_oldest_first(tmp_path):
    clock = Clock()
    with store_at(tmp_path / "store", clock, max_store_gb=1e-6).opened() as store:  # 1000 bytes
        store.recover()
        first = add_upload(store, 300)
        clock.time += 1
        second = add_upload(store, 300)
        clock.time += 1
        third = add_upload(store, 500)
        assert set(store.uploads) == {second, third}
        assert not (store.uploads_dir / first).exists()
        for upload in (second, third):
            add_job(store, upload)
        with pytest.raises(RefusedError, match="store: found no room for more uploads") as refused:
            add_upload(store, 300)
        assert refused.value.status == 507
        assert sorted(os.listdir(store.uploads_dir)) == sorted([second, third])
        assert store.num_bytes() == 800


def test_nothing_is_left_at_the_end(tmp_path):
    with store_at(tmp_path / "new" / "store").opened() as store:
        store.recover()
        add_job(store, add_upload(store))
        assert (tmp_path / "new/store").stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / "new") == []


def test_two_services_do_not_share_a_folder(tmp_path):
    with store_at(tmp_path / "store").opened() as store:
        store.recover()
        with (
            pytest.raises(InputError, match="found a folder that another service uses"),
            store_at(store.folder).opened(),
        ):
            pass
        upload = add_upload(store)
        assert (store.uploads_dir / upload).exists()


def test_a_folder_of_something_else_is_refused_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="something that uniseg serve did not write"), store_at(tmp_path).opened():
        pass
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_what_a_start_that_failed_found_stays(tmp_path):
    killed = killed_store(tmp_path)
    before = sorted(path for path in killed.rglob("*"))
    with pytest.raises(ZeroDivisionError), store_at(killed).opened():
        raise ZeroDivisionError  # the checkpoint could not be read
    assert sorted(path for path in killed.rglob("*")) == before


def killed_store(tmp_path):
    """A copy of a store in the middle of its work, which is what a SIGKILL leaves."""
    with store_at(tmp_path / "alive").opened() as store:
        store.recover()
        upload, gone = add_upload(store), add_upload(store)
        add_job(store, upload, state=QUEUED)
        add_job(store, upload, state=RUNNING, attempts=1, series="cut")
        add_job(store, upload, state=RUNNING, attempts=2, series="killer")
        add_job(store, upload, state="done", finished=1e9, series="finished")
        add_job(store, gone, series="orphan")
        shutil.rmtree(store.uploads_dir / gone)
        with store.receiving("half.nii") as incoming:
            (incoming.folder / "scan.nii").write_bytes(b"half")
            broken = store.jobs_dir / add_job(store, upload)
            (broken / "job.json").write_text('{"id": ')
            (broken.parent / sorted(store.jobs)[0] / ".part123_job.json").write_text("{")
            shutil.copytree(store.folder, tmp_path / "killed")
    return tmp_path / "killed"


def test_after_a_kill_jobs_are_done_or_named_as_lost(tmp_path):
    with store_at(killed_store(tmp_path)).opened() as store:
        lines = store.recover()
        states = {job.series: (job.state, job.error) for job in store.jobs.values()}
        assert states == {
            None: ("queued", ""),
            "cut": ("queued", ""),
            "killer": ("lost", "lost: the service was killed 2 times while it ran"),
            "finished": ("done", ""),
            "orphan": ("lost", states["orphan"][1]),
        }
        assert states["orphan"][1].startswith("lost: its upload ")
        assert len(store.uploads) == 1
        assert len(lines) == 6
        assert sum("an upload that was cut by the end of the service was removed" in line for line in lines) == 1
        assert sum("a job whose record cannot be read is lost" in line for line in lines) == 1
        assert sum("is lost" in line for line in lines) == 3
        assert sum("it is done now" in line for line in lines) == 2
        assert list(store.folder.rglob(".part*")) == []
        for job_id, job in store.jobs.items():
            assert json.loads((store.jobs_dir / job_id / "job.json").read_text())["state"] == job.state
    assert not store.folder.exists()


def test_the_restarted_service_finishes_what_was_waiting(tmp_path):
    scan = save_scan(tmp_path / "scan.nii", shape=(8, 20, 20))
    with running(tmp_path / "first") as first:
        upload = first.client.upload(scan)["id"]
        expected = first.client.run(scan, tmp_path / "expected", ["spleen"])[0].read_bytes()
        job = first.client.wait(first.client.start(upload, ["spleen"])["id"])
        first.store.save(replace(first.store.job(job["id"]), state=RUNNING, results=(), attempts=1))
        shutil.copytree(first.store.folder, tmp_path / "second/store")
    (tmp_path / "second/store" / LOCK).touch()
    with running(tmp_path / "second") as second:
        assert second.client.wait(job["id"])["state"] == "done"
        path = second.client.download(job["id"], "spleen", tmp_path / "again.nii.gz")
        assert path.read_bytes() == expected
        assert second.lines[0] == f"job {job['id']} (spleen) was cut at the end of the service; it is done now"
        with pytest.raises(ServiceError, match="task 'liver': found no label map; expected one of: spleen"):
            second.client.download(job["id"], "liver", tmp_path / "no.nii.gz")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith((".part", "no"))]
