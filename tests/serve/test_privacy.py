"""A patient's name stands in answers and in the database, and nowhere else."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hilum.serve.server import Lines

Film = Callable[..., bytes]
PLANTED = ("Zwetschgenberg", "Kunigunde", "PID-4711-GEHEIM", "1950-01-02", "19500102", "ACC-815")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that anybody logs, at any level, as the process would write it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    handler.setLevel(logging.DEBUG)
    handler.addFilter(lambda record: not record.name.startswith("httpx"))  # the client's own
    root = logging.getLogger()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_nothing_but_answers_and_the_database_names_the_patient(
    serve: Callable[..., Any],
    dicom: Film,
    said: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    client = serve()
    name = "Zwetschgenberg_Kunigunde.dcm"
    film = dicom(AccessionNumber="ACC-815")
    odd = dicom(PhotometricInterpretation="KUNIGUNDE")  # an element that errors do quote to who sent it
    good = client.post("/v1/predict", files={"files": (name, film)}).json()
    assert good["patient"]["name"] == "Zwetschgenberg, Kunigunde"
    id_ = good["id"]
    bad = [
        client.post("/v1/predict", files={"files": (name, film[:5000])}),
        client.post("/v1/predict", files={"files": (name, dicom(Rows=0))}),
        client.post("/v1/predict", files={"files": (name, odd)}),
        client.get("/v1/results", params={"sort": "Zwetschgenberg"}),
        client.get("/v1/results", params={"limit": "Kunigunde"}),
        client.get("/Zwetschgenberg/Kunigunde"),
        client.get(f"/v1/results/{id_}/evidence/Kunigunde.npy"),
        client.get("/v1/results", headers={"Host": "kunigunde.Zwetschgenberg"}),
    ]
    monkeypatch.setattr(
        "hilum.serve.arrays.film", lambda report: 1 / len(str(report.radiograph)) + int(str(report))
    )
    bad.append(client.get(f"/v1/results/{id_}/film.npy"))  # its message quotes the whole report
    assert bad[-1].status_code == 500
    for form in ("seg", "sr", "sc", "gsps"):
        client.get(f"/v1/results/{id_}/{form}.dcm")
    client.get("/v1/results", params={"search": "Kunigunde"})
    job = client.post("/v1/jobs", files={"files": (name, film)}).json()["id"]
    while client.get(f"/v1/jobs/{job}").json()["status"] != "done":
        pass
    for answer in bad:
        assert answer.status_code >= 400
        assert not [word for word in PLANTED if word in answer.text], answer.text
    metrics = client.get("/metrics").text
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    audit = (tmp_path / "data" / "audit.jsonl").read_text()
    names = " ".join(str(path.relative_to(tmp_path)) for path in files)
    printed = capfd.readouterr()
    everything = "\n".join((said.getvalue(), metrics, audit, names, printed.out, printed.err))
    assert '"route": "/v1/results/{result}/film.npy", "status": 500' in said.getvalue()
    assert '"error": {"type": "ValueError"' in said.getvalue()
    for word in PLANTED:
        assert word.lower() not in everything.lower(), word
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "data" / "incoming").iterdir()) == []
    assert any(b"Zwetschgenberg" in path.read_bytes() for path in files if path.name.startswith("results.db"))


def test_errors_of_the_database_quote_no_values(
    serve: Callable[..., Any], dicom: Film, said: io.StringIO
) -> None:
    import sqlalchemy as sql

    client = serve()
    document = client.predict(dicom())
    with pytest.raises(sql.exc.IntegrityError) as caught:
        client.service.results.add(document)
    assert "Zwetschgenberg" not in str(caught.value)
    assert "Zwetschgenberg" not in said.getvalue()
