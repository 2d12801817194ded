"""The service's database on a real PostgreSQL, started here on loopback by a user that is not root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import event

import hilum
from hilum.data.phantom import draw
from hilum.serve.faults import ServiceError
from hilum.serve.jobs import Jobs
from hilum.serve.results import Results
from hilum.serve.service import described, stamp
from hilum.serve.tables import METADATA, connect

PASSWORD = "only-for-this-test"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    return found[-1].parent if found else Path(which).parent if which else None


def run(*command: str | Path, **more: Any) -> None:
    # PostgreSQL refuses to run as root; Debian's package brings a user for it.
    user = {"user": "postgres", "extra_groups": []} if ROOT else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **user, **more)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A PostgreSQL of its own; the URL of its first database."""
    binaries = programs()
    if binaries is None:
        why = "no PostgreSQL; install the Debian package postgresql"
        if os.environ.get("HILUM_REQUIRE_SERVICES") == "1":
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="hilum-postgres-"))
    if ROOT:
        shutil.chown(folder, "postgres")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = folder / "data"
    run(
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "hilum",
        "-A",
        "scram-sha-256",
        "--pwfile",
        secret,
        "-E",
        "UTF8",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = binaries / "pg_ctl"
    run(control, "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://hilum:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        run(control, "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def engine(cluster: str, tmp_path: Path) -> Iterator[sql.Engine]:
    engine = connect(cluster, tmp_path)
    yield engine
    with engine.begin() as connection:
        METADATA.drop_all(connection)
        connection.execute(sql.text("DROP TABLE alembic_version"))
    engine.dispose()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    report = hilum.load(threads=1)(draw(3).pixels)
    found = described(report, "a\u00e4.png", "0" * 32)
    patient = {"id": "P1", "name": "O'Neil; DROP TABLE results", "birth_date": "", "sex": ""}
    study = {"uid": "1.2", "date": "2026-01-01", "time": "", "description": "50% _x", "accession": ""}
    return found | {"patient": patient, "study": study}


def test_migrations_make_the_same_tables(engine: sql.Engine) -> None:
    with engine.connect() as connection:
        assert connection.dialect.driver == "pg8000"
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_results_are_kept_found_sorted_and_deleted(engine: sql.Engine, document: dict[str, Any]) -> None:
    results = Results(engine)
    labels = tuple(document["prediction"])
    for number in range(5):
        prediction = {
            label: score | {"probability": number / 10} for label, score in document["prediction"].items()
        }
        study = document["study"] | {"date": f"2026-01-0{number + 1}"}
        film = document["input"] | {"sha256": f"{number:064x}"}
        more = {"id": f"{number:032x}", "prediction": prediction, "study": study, "input": film}
        results.add(document | more | {"received": stamp(datetime(2026, 1, 1, number, tzinfo=UTC))})

    def listed(**given: Any) -> list[int]:
        usual = {"search": "", "status": "", "sort": "received", "descending": True, "offset": 0, "limit": 10}
        found = results.listed(**{**usual, "labels": labels, **given})
        return [int(one["id"], 16) for one in found[1]]

    assert listed() == [4, 3, 2, 1, 0]
    assert listed(sort="Edema", descending=False) == [0, 1, 2, 3, 4]
    assert listed(search="o'neil DROP", limit=2, offset=1) == [3, 2]
    assert listed(search="50%") == [4, 3, 2, 1, 0] and listed(search="51%") == []
    assert listed(status="rejected") == []
    assert results.get("0" * 32)["file"] == "a\u00e4.png"
    assert [int(one["id"], 16) for one in results.prior(f"{2:032x}")] == [1, 0]
    results.delete(f"{3:032x}")
    assert listed() == [4, 2, 1, 0]
    with engine.connect() as connection:
        scores = connection.scalar(sql.text("SELECT count(*) FROM scores"))
    assert scores == 4 * len(labels)
    with pytest.raises(sql.exc.IntegrityError) as caught:
        results.add(document | {"id": f"{2:032x}"})
    assert "Neil" not in str(caught.value.args[0]).split("Key")[0]
    with pytest.raises(ServiceError):
        results.get("f" * 32)


def test_jobs_begin_end_and_are_cancelled(engine: sql.Engine, document: dict[str, Any]) -> None:
    jobs, results = Jobs(engine, most=2), Results(engine)
    ids = [f"{i:032x}" for i in range(3)]
    job = uuid.uuid4().hex
    jobs.add(job, [(id_, "x.png") for id_ in ids], "2026-01-01")
    first, second, _ = jobs.pending(10)
    jobs.begin(first)
    assert jobs.get(job)["status"] == "running"
    assert jobs.done(first, document | {"id": first.result})
    assert not jobs.done(first, document | {"id": first.result})  # done already: nothing twice
    assert results.exists(first.result)
    assert jobs.cancel(job) == ids[1:]
    assert not jobs.done(second, document | {"id": second.result})
    assert not results.exists(second.result)
    assert jobs.get(job)["status"] == "cancelled"
    jobs.sweep("2027-01-01")
    with pytest.raises(ServiceError):
        jobs.get(job)


def test_films_that_end_at_the_same_time_end_their_job(engine: sql.Engine, document: dict[str, Any]) -> None:
    jobs = Jobs(engine, most=2)
    ids = [f"{i:032x}" for i in range(2)]
    job = uuid.uuid4().hex
    jobs.add(job, [(id_, "x.png") for id_ in ids], "2026-01-01")
    both = threading.Barrier(2)

    @event.listens_for(engine, "after_cursor_execute")
    def meet(_: Any, __: Any, statement: str, *___: Any) -> None:
        # Neither sees by now what the other has changed, unless one has waited for the other.
        if statement.startswith("UPDATE jobs"):
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)

    with ThreadPoolExecutor() as pool:
        done = [pool.submit(jobs.done, film, document | {"id": film.result}) for film in jobs.pending(2)]
    event.remove(engine, "after_cursor_execute", meet)
    assert [one.result() for one in done] == [True, True]
    assert jobs.get(job)["status"] == "done"


@pytest.mark.usefixtures("engine")
def test_a_service_runs_on_it(cluster: str, tmp_path: Path) -> None:
    import cv2
    from starlette.testclient import TestClient

    from hilum.serve.app import create_app
    from hilum.serve.settings import Settings

    film = cv2.imencode(".png", draw(3).pixels)[1].tobytes()
    app = create_app(Settings(data=tmp_path / "data", database=cluster, decoders=1), hilum.load(threads=1))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        found = client.post("/v1/predict", content=film, headers={"Content-Type": "image/png"}).json()
        assert client.get(f"/v1/results/{found['id']}").json() == found
        job = client.post("/v1/jobs", files=[("files", ("a.png", film)), ("files", ("b.png", b"x"))]).json()
        until = time.monotonic() + 30
        while (job := client.get(f"/v1/jobs/{job['id']}").json())["status"] != "done":
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [one["status"] for one in job["results"]] == ["ok", "error"]
        assert client.get("/readyz").status_code == 200
        assert not (tmp_path / "data" / "results.db").exists()
