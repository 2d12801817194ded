"""/v1/results: the worklist, pictures, downloads, and results whose film or models are gone."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from hilum.explain import heatmap
from hilum.labels import SIX
from hilum.pipeline import Pipeline
from hilum.serve import results

Film = Callable[..., bytes]


@pytest.fixture(scope="module")
def document(client: Any, dicom: Film) -> dict[str, Any]:
    found: dict[str, Any] = client.predict(dicom(3))
    return found


def array(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-npy"
    return np.load(BytesIO(answer.content), allow_pickle=False)


def test_the_film_comes_at_full_depth(
    client: Any, dicom: Film, document: dict[str, Any], pipeline: Pipeline
) -> None:
    answer = client.get(f"/v1/results/{document['id']}/film.npy")
    film = array(answer)
    pixels = pipeline(dicom(3)).radiograph.pixels
    assert film.dtype == np.dtype("<u2") and film.shape == pixels.shape
    assert np.abs(film / 65535 - pixels).max() < 1e-5
    assert answer.content[:8] == b"\x93NUMPY\x01\x00"
    centre, width = map(float, answer.headers["x-hilum-window"].split(","))
    assert (centre - width / 2, centre + width / 2) == (0, 65535)


def test_the_mask_has_the_three_structures(
    client: Any, dicom: Film, document: dict[str, Any], pipeline: Pipeline
) -> None:
    mask = array(client.get(f"/v1/results/{document['id']}/mask.npy"))
    anatomy = pipeline(dicom(3)).anatomy
    assert anatomy is not None
    assert mask.dtype == np.uint8 and np.array_equal(mask, anatomy.mask)


@pytest.mark.parametrize("label", SIX)
def test_evidence_of_every_label_is_above_its_own_baseline(
    client: Any, dicom: Film, document: dict[str, Any], pipeline: Pipeline, label: str
) -> None:
    from hilum.classify import classify

    answer = client.get(f"/v1/results/{document['id']}/evidence/{label}.npy")
    values = array(answer)
    assert values.dtype == np.dtype("<f4") and max(values.shape) <= 256
    report = pipeline(dicom(3))
    assert pipeline.classifier is not None and report.anatomy is not None
    one = classify(pipeline.classifier, None, report.radiograph, report.anatomy).evidence[label]
    own = heatmap(one.map, label=label, anatomy=report.anatomy, baseline=one.baseline, part=one.part)
    assert values.mean() == pytest.approx(float(own.values.mean()) - one.baseline, abs=0.02)
    assert float(answer.headers["x-hilum-strongest"]) >= values.max() - 1e-3


def test_masks_are_gzipped_for_clients_that_take_it(client: Any, document: dict[str, Any]) -> None:
    path = f"/v1/results/{document['id']}/mask.npy"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) < len(plain.content) / 4
    assert gzip.decompress(packed) == plain.content


def test_downloads_are_files_named_by_the_id(client: Any, document: dict[str, Any]) -> None:
    id_ = document["id"]
    starts = {"report.json": b'{"file"', "report.html": b"<!doctype html>", "overlay.png": b"\x89PNG"}
    for name, start in starts.items():
        answer = client.get(f"/v1/results/{id_}/{name}")
        assert answer.status_code == 200
        assert answer.content[: len(start)].lower() == start.lower()
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="{id_}')
    for form in ("seg", "sr", "sc", "gsps"):
        answer = client.get(f"/v1/results/{id_}/{form}.dcm")
        assert answer.content[128:132] == b"DICM"
    page = client.get(f"/v1/results/{id_}/report.html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert "script-src" not in page.headers["content-security-policy"]


def test_a_result_reads_back_as_it_was_given(client: Any, document: dict[str, Any]) -> None:
    assert client.get(f"/v1/results/{document['id']}").json() == document


def test_unknown_ids_labels_and_orders_are_refused(client: Any, document: dict[str, Any]) -> None:
    nobody = "0" * 32
    for path in (nobody, f"{nobody}/film.npy", f"{nobody}/prior", f"{nobody}/seg.dcm"):
        answer = client.get(f"/v1/results/{path}")
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "missing"
    assert client.delete(f"/v1/results/{nobody}").status_code == 404
    for path in ("..%2f..%2fetc%2fpasswd", "x", "A" * 32):
        assert client.get(f"/v1/results/{path}/film.npy").status_code in (404, 422)
    assert client.get(f"/v1/results/{document['id']}/evidence/Fracture.npy").status_code == 404
    for query in ("sort=password", "order=up", "limit=0", "limit=100000", "offset=-1", "status=x"):
        answer = client.get(f"/v1/results?{query}")
        assert answer.status_code == 422 and set(answer.json()["error"]) == {"code", "reason", "remedy"}


def test_the_worklist_searches_sorts_and_pages(serve: Callable[..., Any], dicom: Film, png: Film) -> None:
    client = serve()
    names = {"Muster^Anna": "20260103", "Beispiel^Bert": "20260101", "Zapf^Carla": "20260102"}
    for seed, (name, date) in enumerate(names.items(), 3):
        client.predict(dicom(seed, PatientName=name, PatientID=f"P{seed}", StudyDate=date))
    client.predict(png(8))

    def listed(**query: Any) -> list[str]:
        found = client.get("/v1/results", params=query).json()["results"]
        return [(one["patient"] or {"name": "-"})["name"].split(",")[0] for one in found]

    assert listed() == ["-", "Zapf", "Beispiel", "Muster"]
    assert listed(sort="received", order="asc") == ["Muster", "Beispiel", "Zapf", "-"]
    assert listed(sort="patient", order="asc")[1:] == ["Beispiel", "Muster", "Zapf"]
    assert listed(sort="date", order="desc")[:3] == ["Muster", "Zapf", "Beispiel"]
    assert listed(search="anna") == ["Muster"] and listed(search="p4 bert") == ["Beispiel"]
    assert listed(search="%") == [] and listed(search="_") == []
    assert listed(offset=1, limit=2) == ["Zapf", "Beispiel"]
    assert client.get("/v1/results", params={"limit": 1}).json()["total"] == 4
    by_score = client.get("/v1/results", params={"sort": "Edema"}).json()["results"]
    scores = [one["probabilities"]["Edema"] for one in by_score]
    assert scores == sorted(scores, reverse=True)


def test_names_in_any_letters_are_shown_and_found(serve: Callable[..., Any], dicom: Film) -> None:
    """In large and small letters alike, and where the group in Latin letters is empty."""
    client = serve()
    utf8 = {"SpecificCharacterSet": "ISO_IR 192"}
    client.predict(dicom(3, PatientName="MÜLLER^ÄNNE", **utf8))
    client.predict(dicom(4, PatientName="=山田^太郎=やまだ^たろう", **utf8))

    def found(search: str) -> list[str]:
        results = client.get("/v1/results", params={"search": search}).json()["results"]
        return [one["patient"]["name"] for one in results]

    client.predict(dicom(5, PatientName="Özil-Çağlar^Øyvind", **utf8))
    assert found("müller") == found("Änne") == found("mÜLLer") == ["MÜLLER, ÄNNE"]
    assert found("özil-çağlar øyvind") == ["Özil-Çağlar, Øyvind"]
    assert found("山田") == ["山田, 太郎"]


def test_dates_written_as_before_dicom_3_are_dates_all_the_same(
    serve: Callable[..., Any], dicom: Film
) -> None:
    client = serve()
    old = client.predict(dicom(3, StudyDate="2024.01.15", PatientBirthDate="1950.01.02"))
    new = client.predict(dicom(4, StudyDate="20240601"))
    assert old["study"]["date"] == "2024-01-15"
    prior = client.get(f"/v1/results/{new['id']}/prior").json()["results"]
    assert [one["id"] for one in prior] == [old["id"]]


def test_prior_films_are_of_the_same_patient_and_earlier(serve: Callable[..., Any], dicom: Film) -> None:
    client = serve()
    ids = {
        date: client.predict(dicom(3, StudyDate=date))["id"] for date in ("20260105", "20260101", "20260103")
    }
    client.predict(dicom(4, PatientID="another", StudyDate="20250101"))
    client.predict(dicom(5, PatientBirthDate="19771231", StudyDate="20250101"))  # an id given twice
    found = client.get(f"/v1/results/{ids['20260105']}/prior").json()
    assert [one["id"] for one in found["results"]] == [ids["20260103"], ids["20260101"]]
    assert found["total"] == 2
    assert client.get(f"/v1/results/{ids['20260101']}/prior").json()["results"] == []


def test_films_of_another_of_that_id_crowd_out_no_prior_and_no_film_is_its_own(
    serve: Callable[..., Any], dicom: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_PRIORS", 2)
    client = serve()
    first = client.predict(dicom(3, StudyDate="20200101"))["id"]
    for day in ("20260102", "20260103", "20260104"):
        client.predict(dicom(5, PatientBirthDate="19771231", StudyDate=day))
    last = [client.predict(dicom(4, StudyDate="20260105"))["id"] for _ in range(2)]
    for own in last:
        found = client.get(f"/v1/results/{own}/prior").json()["results"]
        assert [one["id"] for one in found] == [first]


def test_a_deleted_result_is_gone_with_its_film(client: Any, dicom: Film) -> None:
    id_ = client.predict(dicom(9))["id"]
    film = client.service.settings.data / "films" / id_
    assert film.is_file() and film.stat().st_mode & 0o077 == 0
    assert client.delete(f"/v1/results/{id_}").status_code == 204
    assert not film.exists()
    assert client.get(f"/v1/results/{id_}").status_code == 404
    assert client.get(f"/v1/results/{id_}/film.npy").status_code == 404


def test_a_film_deleted_while_it_is_opened_is_not_kept_at_hand(
    serve: Callable[..., Any], dicom: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    service, id_ = client.service, client.predict(dicom())["id"]
    service.recent.drop(id_)
    analysed = service.analysed

    async def and_deleted(*arguments: Any) -> Any:
        report = await analysed(*arguments)
        service.forget(id_, "another")
        return report

    monkeypatch.setattr(service, "analysed", and_deleted)
    assert client.get(f"/v1/results/{id_}/film.npy").status_code == 404
    assert service.recent.get(id_) is None


def test_a_film_that_was_kept_long_enough_is_not_at_hand_either(
    serve: Callable[..., Any], dicom: Film
) -> None:
    client = serve(keep_days=0)
    id_ = client.predict(dicom())["id"]
    assert client.get(f"/v1/results/{id_}/film.npy").status_code == 200
    client.app.app.state.runner._sweep()
    assert client.get(f"/v1/results/{id_}/film.npy").status_code == 410


def test_a_film_that_goes_while_films_are_swept_stops_nothing(
    serve: Callable[..., Any], dicom: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    ids = {client.predict(dicom(seed))["id"] for seed in (3, 4)}
    films = client.service.films
    listed = [films.path(id_) for id_ in ids]
    gone = listed[0].name
    films.discard(gone)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    assert films.sweep(0, ids) == list(ids - {gone})


def test_what_is_no_longer_at_hand_is_made_anew(serve: Callable[..., Any], dicom: Film) -> None:
    client = serve()
    id_ = client.predict(dicom())["id"]
    paths = [
        f"/v1/results/{id_}/{name}" for name in ("film.npy", "mask.npy", "evidence/Edema.npy", "seg.dcm")
    ]
    before = [client.get(path).content for path in paths]
    client.service.recent.drop(id_)
    assert [client.get(path).content for path in paths] == before


def test_a_film_kept_no_longer_leaves_its_result(serve: Callable[..., Any], dicom: Film) -> None:
    client = serve()
    id_ = client.predict(dicom())["id"]
    client.service.recent.drop(id_)
    assert client.service.films.sweep(0, {id_}, {id_}) == []  # it waits in a job
    assert client.service.films.sweep(0, {id_}) == [id_]
    answer = client.get(f"/v1/results/{id_}/film.npy")
    assert answer.status_code == 410 and answer.json()["error"]["code"] == "expired"
    assert client.get(f"/v1/results/{id_}").status_code == 200


def test_films_that_nothing_knows_are_swept_once_they_are_old(serve: Callable[..., Any], dicom: Film) -> None:
    import os

    client = serve()
    id_ = client.predict(dicom())["id"]
    films = client.service.settings.data / "films"
    for name, age in (("a" * 32, 0), ("b" * 32, 7200)):
        (films / name).write_bytes(b"left by a killed process")
        os.utime(films / name, ((films / id_).stat().st_mtime - age,) * 2)
    assert client.service.films.sweep(30, client.service.results.ids()) == ["b" * 32]
    assert {path.name for path in films.iterdir()} == {id_, "a" * 32}


@pytest.mark.parametrize("change", ["files", "version", "thresholds"])
def test_a_result_of_other_models_is_not_passed_off_as_this_ones(
    serve: Callable[..., Any], dicom: Film, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    client = serve()
    id_ = client.predict(dicom())["id"]
    client.service.recent.drop(id_)
    classifier = client.service.pipeline.classifier
    card = classifier.card
    edema = card.thresholds["Edema"].model_copy(update={"value": 0.5})
    changes: dict[str, Any] = {
        "files": {"model.onnx": "0" * 64},
        "version": "9.9",
        "thresholds": {**card.thresholds, "Edema": edema},
    }
    monkeypatch.setattr(classifier, "card", card.model_copy(update={change: changes[change]}))
    for name in ("film.npy", "seg.dcm", "report.html"):
        answer = client.get(f"/v1/results/{id_}/{name}")
        assert answer.status_code == 409 and answer.json()["error"]["code"] == "other-model"
    assert client.get(f"/v1/results/{id_}").status_code == 200


def test_recent_reports_take_no_more_memory_than_they_may(pipeline: Pipeline, png: Film) -> None:
    from hilum.serve.recent import Kept, Recent

    report = pipeline(png())
    size = Kept(report).size
    recent = Recent(int(2.5 * size))
    for name in "abc":
        recent.put(name, replace(report))
    assert recent.get("a") is None and recent.get("b") and recent.get("c")
    recent.get("b")
    recent.put("d", report)
    assert recent.get("c") is None and recent.get("b")
    assert Recent(size - 1).put("a", report).report is report


def test_a_long_header_takes_its_part_of_the_memory(pipeline: Pipeline, dicom: Film) -> None:
    from hilum.serve.recent import Recent

    item = Dataset()
    item.add_new(0x00091002, "UN", bytes(1_000_000))  # longer ones are not kept
    long = pipeline(dicom(RequestAttributesSequence=[item]))
    recent = Recent(2**21)
    for name in "abcd":
        recent.put(name, long)
    assert recent.get("d") and not any(recent.get(name) for name in "abc")
