"""Jobs: progress, errors, cancelling, and going on where a killed process stopped."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from hilum.serve import service
from hilum.serve.jobs import ATTEMPTS, Jobs
from hilum.serve.service import stamp
from hilum.serve.settings import Limits
from hilum.serve.tables import JOB_FILMS, RESULTS, connect

Film = Callable[..., bytes]
Serve = Callable[..., Any]


def finished(client: Any, job: str, seconds: float = 30) -> dict[str, Any]:
    """The job once it is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = client.get(f"/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        if document["status"] in ("done", "cancelled"):
            return document
        time.sleep(0.05)
    raise AssertionError(f"not over after {seconds} s: {document}")


def test_a_job_analyses_its_films_in_the_background(serve: Serve, dicom: Film, png: Film) -> None:
    client = serve()
    films = [dicom(3), b"GIF89a", png(4), dicom(5)]
    answer = client.post("/v1/jobs", files=[("files", (f"{i}.dcm", film)) for i, film in enumerate(films)])
    assert answer.status_code == 202
    begun = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{begun['id']}"
    assert begun["total"] == 4 and begun["status"] in ("queued", "running")
    done = finished(client, begun["id"])
    assert (done["status"], done["done"]) == ("done", 4)
    assert [one["file"] for one in done["results"]] == ["0.dcm", "1.dcm", "2.dcm", "3.dcm"]
    assert [one["status"] for one in done["results"]] == ["ok", "error", "ok", "ok"]
    assert done["results"][1]["error"]["code"] == "unreadable" and "id" not in done["results"][1]
    for one in (done["results"][0], done["results"][2]):
        document = client.get(f"/v1/results/{one['id']}").json()
        assert document["file"] == one["file"]
        assert client.get(f"/v1/results/{one['id']}/mask.npy").status_code == 200
    assert client.get("/v1/results").json()["total"] == 3
    assert len(list((client.service.settings.data / "films").iterdir())) == 3


def test_jobs_unknown_or_too_many_are_refused(serve: Serve, png: Film) -> None:
    client = serve(limits=Limits(jobs=0, job_films=2))
    full = client.post("/v1/jobs", files={"files": ("a", png())})
    assert full.status_code == 503 and full.headers["retry-after"]
    for method in ("GET", "DELETE"):
        assert client.request(method, f"/v1/jobs/{'0' * 32}").status_code == 404
    client = serve(data=client.service.settings.data.parent / "other", limits=Limits(job_films=2))
    many = client.post("/v1/jobs", files=[("files", ("a", png()))] * 3)
    assert many.status_code == 413
    assert list((client.service.settings.data / "films").iterdir()) == []


def test_a_cancelled_job_stops_and_keeps_no_film_that_was_not_analysed(serve: Serve, png: Film) -> None:
    client = serve()
    films = [("files", (f"{i}.png", png(i % 5))) for i in range(40)]
    job = client.post("/v1/jobs", files=films).json()["id"]
    cancelled = client.delete(f"/v1/jobs/{job}").json()
    assert cancelled["status"] == "cancelled"
    time.sleep(1)  # those that were under way
    after = client.get(f"/v1/jobs/{job}").json()
    analysed = [one["id"] for one in after["results"] if one["status"] == "ok"]
    assert len(analysed) < 40 and after["done"] == 40
    kept = {path.name for path in (client.service.settings.data / "films").iterdir()}
    assert kept == set(analysed)
    assert client.get("/v1/results").json()["total"] == len(analysed)
    assert client.delete(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_a_film_that_is_done_while_its_job_is_cancelled_stays(
    serve: Serve, tmp_path: Path, png: Film
) -> None:
    client = serve()
    document = client.predict(png())
    engine = connect("", tmp_path)
    jobs = Jobs(engine, most=5)
    ids = [f"{i:032x}" for i in range(2)]
    job = uuid.uuid4().hex
    jobs.add(job, [(id_, "x.png") for id_ in ids], stamp(datetime.now(UTC)))
    first, _ = jobs.pending(2)

    @event.listens_for(engine, "before_cursor_execute")
    def finish(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("UPDATE job_films") and not ended:
            ended.append(True)
            ended.append(jobs.done(first, document | {"id": first.result}))

    ended: list[bool] = []
    assert jobs.cancel(job) == ids[1:]
    assert ended == [True, True]
    event.remove(engine, "before_cursor_execute", finish)
    assert [one["status"] for one in jobs.get(job)["results"]] == ["ok", "cancelled"]
    engine.dispose()


def interrupted(data: Path, films: list[bytes], attempts: int = 0) -> str:
    """What a process leaves that was killed right after it took on a job; the job's id."""
    data.mkdir(exist_ok=True)
    (data / "films").mkdir(exist_ok=True)
    engine = connect("", data)
    ids = [f"{i:032x}" for i in range(len(films))]
    for id_, film in zip(ids, films, strict=True):
        (data / "films" / id_).write_bytes(film)
    job = uuid.uuid4().hex
    Jobs(engine, most=5).add(job, [(id_, f"{id_[-1]}.png") for id_ in ids], stamp(datetime.now(UTC)))
    with engine.begin() as connection:
        connection.execute(JOB_FILMS.update().values(attempts=attempts))
    engine.dispose()
    return job


def test_a_job_goes_on_after_a_restart(serve: Serve, tmp_path: Path, png: Film) -> None:
    job = interrupted(tmp_path / "data", [png(3), png(4)], attempts=1)
    client = serve()
    done = finished(client, job)
    assert [one["status"] for one in done["results"]] == ["ok", "ok"]
    assert [one["id"] for one in done["results"]] == [f"{i:032x}" for i in range(2)]


def test_a_film_that_ends_the_process_again_and_again_is_given_up(
    serve: Serve, tmp_path: Path, png: Film
) -> None:
    job = interrupted(tmp_path / "data", [png(3)], attempts=ATTEMPTS)
    done = finished(serve(), job)
    assert done["status"] == "done"
    assert "several times" in done["results"][0]["error"]["reason"]


def test_a_film_that_was_lost_is_an_error_of_its_own(serve: Serve, tmp_path: Path, png: Film) -> None:
    job = interrupted(tmp_path / "data", [png(3), png(4)])
    (tmp_path / "data" / "films" / f"{0:032x}").unlink()
    done = finished(serve(), job)
    assert [one["status"] for one in done["results"]] == ["error", "ok"]
    assert "no longer kept" in done["results"][0]["error"]["reason"]


def test_a_fault_of_the_service_costs_no_film(
    serve: Serve, tmp_path: Path, png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = interrupted(tmp_path / "data", [png(3)])
    monkeypatch.setattr("hilum.serve.runner._AGAIN", 0.05)
    tries = []
    done = Jobs.done

    def failing(self: Jobs, *arguments: Any) -> bool:
        tries.append(1)
        if len(tries) < 2 * ATTEMPTS:
            raise sql.exc.OperationalError("insert", {}, Exception("database is locked"))
        return done(self, *arguments)

    monkeypatch.setattr(Jobs, "done", failing)
    client = serve()
    assert finished(client, job)["results"][0]["status"] == "ok"
    with client.service.database.connect() as connection:
        assert connection.scalar(sql.select(sql.func.count()).select_from(RESULTS)) == 1


def test_a_fault_that_stays_is_told_and_holds_up_nothing(
    serve: Serve, tmp_path: Path, png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = service.described

    def failing(report: Any, file: str, result: str) -> Any:
        if file == "0.png":
            raise ValueError("Kunigunde")
        return described(report, file, result)

    monkeypatch.setattr(service, "described", failing)
    job = interrupted(tmp_path / "data", [png(3), png(4)])
    done = finished(serve(), job)
    assert [one["status"] for one in done["results"]] == ["error", "ok"]
    assert "(ValueError)" in done["results"][0]["error"]["reason"] and "Kunigunde" not in str(done)


def test_a_disk_that_fails_for_a_while_costs_no_film(
    serve: Serve, tmp_path: Path, png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = interrupted(tmp_path / "data", [png(3)])
    monkeypatch.setattr("hilum.serve.runner._AGAIN", 0.05)
    tries = []
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        tries.append(path)
        if len(tries) < 4:
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert finished(serve(), job)["results"][0]["status"] == "ok"


def test_old_jobs_are_forgotten_and_those_at_work_are_not(serve: Serve, tmp_path: Path, png: Film) -> None:
    job = interrupted(tmp_path / "data", [png(3)])
    client = serve(keep_days=3650)
    finished(client, job)
    jobs = client.service.jobs
    jobs.sweep("2025-01-01")
    assert client.get(f"/v1/jobs/{job}").status_code == 200
    waiting = uuid.uuid4().hex
    jobs.add(waiting, [("f" * 32, "x")], "2020-01-01")
    jobs.sweep("2030-01-01")
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert jobs.get(waiting)["total"] == 1


def test_a_film_whose_result_is_kept_stays_though_the_databases_word_was_lost(
    serve: Serve, tmp_path: Path, png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit came through, its acknowledgement did not: the runner tries again and finds it done."""
    job = interrupted(tmp_path / "data", [png(3)])
    done, lost = Jobs.done, []

    def unheard(self: Jobs, film: Any, outcome: Any) -> bool:
        kept = done(self, film, outcome)
        if not lost:
            lost.append(film)
            raise OperationalError("COMMIT", {}, ConnectionError())
        return kept

    monkeypatch.setattr(Jobs, "done", unheard)
    client = serve()
    (result,) = finished(client, job)["results"]
    assert lost and result["status"] == "ok"
    assert client.get(f"/v1/results/{result['id']}/film.npy").status_code == 200


def test_a_job_that_cannot_be_audited_is_neither_taken_on_nor_cancelled(
    serve: Serve, png: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    job = client.post("/v1/jobs", files={"files": ("a.png", png())}).json()["id"]
    finished(client, job)
    before = sorted((client.service.settings.data / "films").iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.service.audit, "append", full)
    monkeypatch.setattr(client.service.jobs, "cancel", full)
    assert client.post("/v1/jobs", files={"files": ("a.png", png())}).status_code == 507
    assert client.delete(f"/v1/jobs/{job}").status_code == 507
    assert sorted((client.service.settings.data / "films").iterdir()) == before
    with client.service.jobs._engine.connect() as connection:
        assert len(connection.execute(JOB_FILMS.select()).all()) == 1
