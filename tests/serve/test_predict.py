"""POST /v1/predict: one film or many, in every form that a result has."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest

from hilum.dicom import dicom_bytes
from hilum.pipeline import Pipeline
from hilum.reporting.report import to_json

Film = Callable[..., bytes]
DICOM = {"Content-Type": "application/dicom"}


def test_a_film_sent_as_it_is_gives_the_report_the_pipeline_gives(
    client: Any, dicom: Film, pipeline: Pipeline
) -> None:
    answer = client.post("/v1/predict", content=dicom(), headers=DICOM)
    assert answer.status_code == 200
    document = answer.json()
    own = to_json(pipeline(dicom()))
    for key in (
        "status",
        "prediction",
        "measurements",
        "quality",
        "heatmaps",
        "models",
        "thresholds",
        "input",
    ):
        assert document[key] == own[key], key
    assert document["file"] == "film.dcm"
    assert document["patient"] == {
        "id": "PID-4711-GEHEIM",
        "name": "Zwetschgenberg, Kunigunde",
        "birth_date": "1950-01-02",
        "sex": "F",
    }
    assert document["study"]["date"] == "2026-01-01" and document["study"]["time"] == "08:15:00"
    assert document["disclaimer"].startswith("Research use only")


def test_a_png_has_no_patient_and_no_study(client: Any, png: Film) -> None:
    document = client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"}).json()
    assert document["status"] == "ok"
    assert document["patient"] is None and document["study"] is None
    assert document["input"]["format"] == "PNG"


def test_several_films_answer_in_their_order_errors_among_them(client: Any, dicom: Film, png: Film) -> None:
    files = [
        ("files", ("../../etc/a b.dcm", dicom(4))),
        ("files", ("C:\\films\\x.png", b"GIF89a")),
        ("files", ("ä\u202e.png", png(5))),
    ]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert [one["file"] for one in (first, second, third)] == ["a b.dcm", "x.png", "ä .png"]
    assert [one["status"] for one in (first, second, third)] == ["ok", "error", "ok"]
    assert second["error"]["code"] == "unreadable" and second["error"]["remedy"]
    assert "id" not in second
    assert first["patient"]["id"] and third["patient"] is None


def test_one_film_in_a_form_is_its_document(client: Any, png: Film) -> None:
    answer = client.post("/v1/predict", files={"files": ("a.png", png())}, data={"comment": "ignored"})
    assert answer.json()["file"] == "a.png"


def test_one_film_that_cannot_be_read_is_an_error_with_a_remedy(client: Any) -> None:
    answer = client.post("/v1/predict", content=b"GIF89a", headers={"Content-Type": "image/png"})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "unreadable",
            "reason": "not a DICOM, PNG, JPEG or TIFF file",
            "remedy": "convert it to one of these",
        }
    }
    assert list(client.service.settings.data.glob("incoming/*")) == []


def test_a_rejected_film_says_why(client: Any) -> None:
    import cv2
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    film = cv2.imencode(".png", noise)[1].tobytes()
    document = client.post("/v1/predict", content=film, headers={"Content-Type": "image/png"}).json()
    assert document["status"] == "rejected"
    assert document["reasons"][0]["sentence"]
    assert document["prediction"] is None
    seen = client.get("/v1/results", params={"status": "rejected"}).json()
    assert seen["total"] == 1 and seen["results"][0]["reasons"] == [document["reasons"][0]["code"]]
    for path in ("evidence/Edema.npy", "seg.dcm"):
        assert client.get(f"/v1/results/{document['id']}/{path}").status_code in (404, 422)


@pytest.mark.parametrize("form", ["seg", "sr", "sc", "gsps"])
def test_a_dicom_film_gives_every_dicom_form(client: Any, dicom: Film, pipeline: Pipeline, form: str) -> None:
    headers = DICOM | {"Accept": f"application/dicom; form={form}"}
    answer = client.post("/v1/predict", content=dicom(6), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.content == dicom_bytes(pipeline(dicom(6)), form)
    assert pydicom.dcmread(BytesIO(answer.content)).PatientID == "PID-4711-GEHEIM"


def test_forms_that_cannot_be_made_are_refused_with_a_reason(client: Any, dicom: Film, png: Film) -> None:
    seg = {"Accept": "application/dicom; form=seg"}
    of_png = client.post("/v1/predict", content=png(), headers={"Content-Type": "image/png"} | seg)
    assert of_png.status_code == 422 and of_png.json()["error"]["code"] == "no-object"
    two = client.post(
        "/v1/predict", files=[("files", ("a", dicom())), ("files", ("b", dicom()))], headers=seg
    )
    assert two.status_code == 422 and two.json()["error"]["code"] == "one-film"
    for accept in ("application/dicom", "application/dicom; form=exe", "text/html"):
        answer = client.post("/v1/predict", content=dicom(), headers=DICOM | {"Accept": accept})
        assert answer.status_code == 406, accept


def test_what_is_neither_film_nor_form_is_refused(client: Any) -> None:
    urlencoded = client.post("/v1/predict", data={"a": "b"})
    assert urlencoded.status_code == 415 and "application/dicom" in urlencoded.json()["error"]["remedy"]
    assert client.post("/v1/predict").status_code == 415
    empty = client.post("/v1/predict", files={"x": (None, "only a field")})
    assert empty.status_code == 422 and empty.json()["error"]["code"] == "no-film"


def test_hostile_headers_become_plain_text(client: Any, dicom: Film) -> None:
    film = dicom(7, PatientName="<script>alert(1)</script>^\x1b[31mA", PatientID="x' OR '1'='1")
    document = client.predict(film)
    assert document["patient"]["name"].startswith("<script>")  # inert as JSON; the viewer sets it as text
    assert "\x1b" not in document["patient"]["name"]
    assert document["patient"]["id"] == "x' OR '1'='1"
    found = client.get("/v1/results", params={"search": "x' OR '1'='1"}).json()
    assert [one["id"] for one in found["results"]] == [document["id"]]
