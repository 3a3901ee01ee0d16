"""One job after the other: a bounded queue, jobs that are deleted, jobs that fail."""

from threading import Event

import pytest

from served import LONGEST_S, running, save_scan, small_predictor
from uniseg.service.uniseg_client import ServiceError


def test_the_queue_is_bounded_and_jobs_may_be_deleted(tmp_path, monkeypatch):
    predictor, computing, may_go_on = small_predictor(), Event(), Event()
    segment, computed = predictor.segment, []

    def held(*arguments):
        computing.set()
        assert may_go_on.wait(LONGEST_S)
        computed.append(arguments)
        return segment(*arguments)

    monkeypatch.setattr(predictor, "segment", held)
    with running(tmp_path, predictor=predictor, max_waiting=2) as service:
        client = service.client
        upload = client.upload(save_scan(tmp_path / "scan.nii", shape=(8, 16, 16)))["id"]
        first = client.start(upload, ["liver"])["id"]
        assert computing.wait(LONGEST_S)
        second, third = (client.start(upload, ["spleen"]) for _ in range(2))
        assert [client.job(job["id"])["position"] for job in (second, third)] == [1, 2]
        with pytest.raises(ServiceError, match="queue: found 2 jobs waiting; expected fewer than 2") as refused:
            client.start(upload, ["liver"])
        assert refused.value.status == 429
        with pytest.raises(ServiceError, match="a job that is not finished needs it"):
            client.delete("uploads", upload)
        for job_id in (first, second["id"]):  # that one runs, this one waits
            client.delete("jobs", job_id)
            with pytest.raises(ServiceError, match="found none"):
                client.job(job_id)
        may_go_on.set()
        assert client.wait(third["id"])["state"] == "done"
        assert len(computed) == 2, "the second was never begun"
        assert f"job {first}: deleted while it ran" in service.lines
        assert {path.split("/")[1] for path in service.files()} == {upload, third["id"]}


def test_a_bug_in_a_job_ends_that_job_alone(tmp_path, monkeypatch, caplog):
    predictor, segment = small_predictor(), small_predictor().segment
    errors = [ZeroDivisionError("a bug"), OSError(28, "No space left on device", "/secret/place")]
    monkeypatch.setattr(
        predictor, "segment", lambda *them: (_ for _ in ()).throw(errors.pop(0)) if errors else segment(*them)
    )
    with running(tmp_path, predictor=predictor) as service:
        scan = save_scan(tmp_path / "scan.nii", shape=(8, 16, 16))
        with pytest.raises(ServiceError, match=r"an error of the service \(ZeroDivisionError\), which its log tells"):
            service.client.run(scan, tmp_path / "out", ["liver"])
        assert "a bug" in caplog.text
        with pytest.raises(ServiceError, match="found No space left on device; expected room to write"):
            service.client.run(scan, tmp_path / "out", ["liver"])
        assert len(service.client.run(scan, tmp_path / "out", ["liver"])) == 1
