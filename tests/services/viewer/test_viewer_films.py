"""Films come in by picker, folder and drop, appear in the list, and are shown with what was found."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from hilum.data.phantom import draw


def test_a_dicom_film_is_shown_with_its_findings(viewer: Any, real: Path) -> None:
    viewer.open(real)
    assert viewer.grey().std() > 20, "a film, not a blank screen"
    assert "CompressedSamples, RG1" in viewer.text(".viewport.active .who")
    assert "view PA" in viewer.text(".viewport.active .when")
    assert viewer.page.locator(".bars li.negative, .bars li.positive, .bars li.open").count() == 6
    assert "The heart is 0.51 as wide as the chest." in viewer.text(".summary")
    assert "inverted once: MONOCHROME1" in viewer.page.text_content("#panel")


def test_bars_stand_where_the_odds_are(viewer: Any, real: Path) -> None:
    viewer.open(real)
    result = json.loads(viewer.fetched())
    for label, score in result["prediction"].items():
        bar = viewer.page.locator(f".bars li[data-label='{label}'] svg")
        lines = {kind: float(bar.locator(f".{kind}").get_attribute("x1")) for kind in ("calibrated", "tick")}
        # As a report's page has them: from odds of a thousandth to a thousand.
        from hilum.reporting.report_page import _place

        assert lines["calibrated"] == pytest.approx(_place(score["probability"]))
        assert lines["tick"] == pytest.approx(_place(score["threshold"]))
        assert (lines["calibrated"] >= lines["tick"]) == (score["probability"] >= score["threshold"])


def test_a_png_film_is_shown(viewer: Any, phantom: Path) -> None:
    viewer.open(phantom)
    assert viewer.text(".viewport.active .who") == "phantom.png"
    assert viewer.page.locator("[data-part='seg.dcm']").count() == 0, "no DICOM of what was none"


def test_an_unreadable_file_shows_its_reason(viewer: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no film at all" * 40)
    viewer.visit()
    viewer.add(bad)
    said = viewer.text("#uploads-list li")
    assert "error" in said
    assert "not a DICOM, PNG, JPEG or TIFF file" in said
    assert viewer.page.is_visible("#welcome")


def test_a_rejected_film_shows_its_reasons(viewer: Any, dicom: Callable[..., Path]) -> None:
    viewer.open(dicom("side.dcm", ViewPosition="LL"))
    assert viewer.text(".outcome h2") == "Rejected"
    assert "read frontal films only" in viewer.text(".reasons")
    assert viewer.text(".viewport.active .turned") == "Rejected"
    assert "Rejected: lateral" in viewer.text("[role=option][aria-selected=true]")


def test_open_labels_are_told_from_called_ones(viewer: Any, phantom: Path) -> None:
    viewer.open(phantom)
    for label, score in json.loads(viewer.fetched())["prediction"].items():
        expected = "left open" if score["abstained"] else "positive" if score["positive"] else "negative"
        assert viewer.text(f".bars li[data-label='{label}'] .call") == expected


def test_many_films_go_as_a_job(viewer: Any, tmp_path: Path) -> None:
    films = []
    for seed in range(6):
        films.append(tmp_path / f"many{seed}.png")
        cv2.imwrite(str(films[-1]), draw(seed, size=256).pixels)
    films[1].write_bytes(b"broken")
    viewer.visit()
    sent = []
    viewer.page.on("request", lambda request: sent.append((request.method, request.url.split("/v1/")[-1])))
    viewer.add(*films)
    assert ("POST", "jobs") in sent
    assert ("POST", "predict") not in sent
    told = [row.split("\n")[:2] for row in viewer.page.locator("#uploads-list li").all_inner_texts()]
    assert told == [[f"many{i}.png", "error" if i == 1 else "analysed"] for i in reversed(range(6))]
    assert viewer.text("#uploads-title") == "5 of 6 analysed"
    viewer.page.fill("#search", "many")
    viewer.page.wait_for_function("() => document.querySelectorAll('[role=option]').length === 5")


def test_a_folder_is_sent_with_all_that_lies_in_it(viewer: Any, tmp_path: Path) -> None:
    viewer.visit()
    viewer.page.set_input_files("#folder", str(_folder(tmp_path)))
    viewer.page.wait_for_function("() => document.querySelectorAll('#uploads-list .state').length === 2")
    names = viewer.page.locator("#uploads-list li").all_inner_texts()
    assert sorted(name.split("\n")[0] for name in names) == ["inner.png", "outer.png"]


def test_a_dropped_folder_is_walked_through(viewer: Any, tmp_path: Path) -> None:
    viewer.visit()
    session = viewer.page.context.new_cdp_session(viewer.page)
    data = {"items": [], "files": [str(_folder(tmp_path))], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 700, "y": 400, "data": data})
        if kind == "dragOver":
            viewer.page.wait_for_selector("#dropping", state="visible")
    viewer.page.wait_for_function("() => document.querySelectorAll('#uploads-list .state').length === 2")
    assert viewer.page.is_hidden("#dropping")


def test_the_list_is_searched_sorted_and_walked(viewer: Any, dicom: Callable[..., Path]) -> None:
    viewer.visit()
    viewer.add(
        *(dicom(f"walk-{name}.dcm", i, PatientName=f"Walk^{name}") for i, name in enumerate(("B", "C", "A")))
    )
    viewer.page.fill("#search", "walk")
    viewer.page.wait_for_function("() => document.querySelectorAll('[role=option]').length === 3")
    viewer.page.select_option("#sort", "patient")
    viewer.page.wait_for_function(
        "() => document.querySelector('[role=option] .name').textContent === 'Walk, A'"
    )
    viewer.page.click("#order")
    viewer.page.wait_for_function(
        "() => document.querySelector('[role=option] .name').textContent === 'Walk, C'"
    )
    viewer.page.click("[role=option]")
    viewer.shown("walk-C.dcm")
    viewer.page.focus("#rows")
    viewer.press("ArrowDown")
    viewer.shown("walk-B.dcm")
    viewer.press("PageDown")
    viewer.shown("walk-A.dcm")
    viewer.press("ArrowUp")
    viewer.shown("walk-B.dcm")


def test_a_film_is_deleted_after_a_question(viewer: Any, dicom: Callable[..., Path]) -> None:
    viewer.open(dicom("gone.dcm"))
    address = f"{viewer.address}/v1/results/{viewer.page.url.split('#')[1]}"
    viewer.page.click("text=Delete this film")
    viewer.page.click("dialog[open] >> text=Keep")
    assert viewer.page.is_visible("#panel")
    viewer.page.click("text=Delete this film")
    viewer.page.click("dialog[open] button[value=yes]")
    viewer.page.wait_for_selector("#welcome", state="visible")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address)  # noqa: S310 - loopback


def test_reports_are_saved(viewer: Any, real: Path) -> None:
    viewer.open(real)
    for part, begins in (("report.html", b"<!doctype html>"), ("report.json", b"{")):
        with viewer.page.expect_download() as saved:
            viewer.page.click(f"[data-part='{part}']")
        assert saved.value.suggested_filename == f"{real.name}.{part.split('.')[1]}"
        assert Path(saved.value.path()).read_bytes().startswith(begins)


def test_dicom_objects_are_saved(viewer: Any, real: Path) -> None:
    pytest.importorskip("highdicom", reason="needs hilum[dicom]")
    viewer.open(real)
    for part in ("seg.dcm", "sr.dcm", "sc.dcm", "gsps.dcm"):
        with viewer.page.expect_download() as saved:
            viewer.page.click(f"[data-part='{part}']")
        assert Path(saved.value.path()).read_bytes()[128:132] == b"DICM"


def test_the_address_brings_a_film_back(viewer: Any, phantom: Path) -> None:
    viewer.open(phantom)
    viewer.page.reload()
    viewer.shown("phantom.png")


def test_results_outlive_their_film(viewer: Any, real: Path) -> None:
    error = {"code": "expired", "reason": "the film is kept no longer", "remedy": "send the film again"}
    for part in ("film", "mask"):
        viewer.page.route(f"**/{part}.npy", lambda route: route.fulfill(status=410, json={"error": error}))
    viewer.open(real)
    assert viewer.text("#trouble-what") == "The film is kept no longer; send the film again."
    assert "0.51" in viewer.text("#ratio")
    assert viewer.page.locator(".bars li .call").count() == 6
    assert viewer.page.locator("button.label, #evidence").count() == 0
    viewer.press("m", "g", "i", "l", "Enter", "+", "2", "h", " ")
    viewer.page.click("#trouble-close")
    assert viewer.page.is_hidden("#trouble")


def test_paging(viewer: Any) -> None:
    viewer.page.route("**/v1/results?*", _pages)
    viewer.visit()
    assert viewer.text("#page-where") == "1 to 25 of 60"
    viewer.page.click("#page-on")
    viewer.page.wait_for_function(
        "() => document.getElementById('page-where').textContent === '26 to 50 of 60'"
    )
    viewer.page.click("#page-on")
    viewer.page.wait_for_function(
        "() => document.getElementById('page-where').textContent === '51 to 60 of 60'"
    )
    assert viewer.page.is_disabled("#page-on")


def test_no_film_is_passed_over_where_pages_meet(viewer: Any) -> None:
    """Neither by a key that is pressed again before the page has come, nor after a page that did not come."""
    held: list[Any] = []
    opened: list[int] = []
    viewer.page.route("**/v1/results?*", _pages)
    viewer.page.route("**/v1/results/*", lambda route: route.fulfill(status=404, json={}))
    pattern = re.compile(r"/v1/results/([0-9a-f]{32})$")
    viewer.page.on("request", lambda asked: opened.extend(int(i, 16) for i in pattern.findall(asked.url)))
    viewer.visit()
    viewer.page.click("[role=option]:last-child")
    viewer.page.route("**/v1/results?*", lambda route: held.append(route))
    viewer.press("ArrowDown", "ArrowDown")
    viewer.page.wait_for_timeout(200)
    viewer.page.unroute("**/v1/results?*")
    viewer.page.route("**/v1/results?*", _pages)
    for route in held:
        with contextlib.suppress(Exception):  # the page has given up the first
            _pages(route)
    viewer.page.wait_for_timeout(500)
    assert opened == [24, 25]
    viewer.page.click("[role=option]:last-child")
    viewer.page.route("**/v1/results?*", lambda route: route.fulfill(status=503, json={}))
    viewer.press("ArrowDown")
    viewer.page.wait_for_selector("#rows-none", state="visible")
    viewer.page.unroute("**/v1/results?*")
    viewer.page.route("**/v1/results?*", _pages)
    viewer.press("ArrowDown")
    viewer.page.wait_for_timeout(500)
    assert opened == [24, 25, 49, 50]


def test_a_full_service_is_asked_again(viewer: Any, phantom: Path) -> None:
    tried = []

    def full(route: Any) -> None:
        tried.append(route)
        if len(tried) > 1:
            route.continue_()
            return
        error = {"code": "full", "reason": "full", "remedy": "later"}
        route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": error})

    viewer.page.route("**/v1/predict", full)
    viewer.visit()
    viewer.add(phantom)
    viewer.shown(phantom.name)
    assert len(tried) == 2


def test_a_job_that_cannot_be_asked_about_for_a_while_is_not_sent_again(viewer: Any, tmp_path: Path) -> None:
    films = _several(tmp_path, "asked")
    asked, sent = [], []

    def lost(route: Any) -> None:
        asked.append(route)
        error = {"code": "database", "reason": "the database cannot be reached", "remedy": "try again later"}
        if len(asked) == 1:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": error})
        else:
            route.continue_()

    viewer.page.route("**/v1/jobs/*", lost)
    viewer.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    viewer.visit()
    viewer.add(*films)
    assert len(asked) > 1
    assert [url.rsplit("/", 1)[1] for url in sent] == ["jobs"]


def test_a_job_outlives_a_restart_of_the_service(viewer: Any, tmp_path: Path) -> None:
    """No answer, or that of a proxy before a service that is starting: the job goes on all the same."""
    films = _several(tmp_path, "again")
    asked: list[Any] = []

    def away(route: Any) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=502, headers={"Retry-After": "1"}, body="<html>")

    viewer.page.route("**/v1/jobs/*", away)
    viewer.visit()
    viewer.add(*films)
    assert len(asked) > 1
    assert viewer.page.locator("#uploads-list .ok").count() == len(films)


def test_a_job_that_is_cancelled_while_it_is_sent_is_cancelled_in_the_service(
    viewer: Any, tmp_path: Path
) -> None:
    films = _several(tmp_path, "never")
    held: list[Any] = []
    viewer.page.route("**/v1/jobs", lambda route: held.append(route))
    viewer.visit()
    with viewer.page.expect_request("**/v1/jobs"):
        viewer.page.set_input_files("#files", [str(film) for film in films])
    viewer.page.click("#uploads-cancel")
    with viewer.page.expect_request(lambda request: request.method == "DELETE"):
        held[0].continue_()


def test_a_film_that_is_cancelled_while_it_is_analysed_is_not_kept(viewer: Any, phantom: Path) -> None:
    held: list[Any] = []
    viewer.page.route("**/v1/predict", lambda route: held.append(route))
    viewer.visit()
    with viewer.page.expect_request("**/v1/predict"):
        viewer.page.set_input_files("#files", str(phantom))
    viewer.page.click("#uploads-cancel")
    with viewer.page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        held[0].continue_()
    assert "/v1/results/" in deleted.value.url and deleted.value.status == 204
    assert "cancelled" in viewer.text("#uploads-list li")


def test_an_answer_that_is_no_json_ends_its_upload(viewer: Any, phantom: Path) -> None:
    viewer.page.route("**/v1/predict", lambda route: route.fulfill(status=200, body="<html>sign in</html>"))
    viewer.visit()
    viewer.add(phantom)
    assert "error" in viewer.text("#uploads-list li")


def test_a_film_that_cannot_be_opened_leaves_no_other_beside_its_name(
    viewer: Any, dicom: Callable[..., Path]
) -> None:
    viewer.visit()
    viewer.add(dicom("refused.dcm", 3, PatientID="refused"))
    viewer.open(dicom("before.dcm", 4, PatientID="before"))
    viewer.page.reload()  # nothing is at hand
    viewer.shown("before.dcm")
    error = {"code": "database", "reason": "the database cannot be reached", "remedy": "try again later"}
    viewer.page.route("**/prior", lambda route: route.fulfill(status=503, json={"error": error}))
    viewer.page.click("[role=option]:has-text('refused.dcm')")
    viewer.page.wait_for_selector("#trouble", state="visible")
    assert not viewer.page.is_visible("#films")
    assert not viewer.page.is_visible("#panel")
    assert "refused.dcm" in viewer.text("[role=option][aria-selected=true]")
    viewer.page.unroute("**/prior")
    viewer.page.reload()
    viewer.shown("refused.dcm")


def _several(where: Path, name: str) -> list[Path]:
    """Five films, which go as a job."""
    films = [where / f"{name}{seed}.png" for seed in range(5)]
    for seed, film in enumerate(films):
        cv2.imwrite(str(film), draw(seed, size=256).pixels)
    return films


def _pages(route: Any) -> None:
    offset = int(route.request.url.split("offset=")[1].split("&")[0])
    row = {"patient": None, "study": None, "view": None, "probabilities": {}, "positive": [], "abstained": []}
    rows = [
        {**row, "id": f"{i:032x}", "file": f"{i}.png", "status": "ok", "received": "2024-01-01T00:00:00Z"}
        | {"cardiothoracic_ratio": None, "reasons": []}
        for i in range(offset, min(60, offset + 25))
    ]
    route.fulfill(json={"total": 60, "results": rows})


def _folder(where: Path) -> Path:
    """Two films and two files that are none, in folders."""
    (where / "study" / "inner").mkdir(parents=True)
    cv2.imwrite(str(where / "study" / "outer.png"), draw(1, size=256).pixels)
    cv2.imwrite(str(where / "study" / "inner" / "inner.png"), draw(2, size=256).pixels)
    (where / "study" / "DICOMDIR").write_bytes(b"an index")
    (where / "study" / ".hidden").write_bytes(b"")
    return where / "study"
