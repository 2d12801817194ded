"""The picture: full bit depth, window, zoom, pan, flips, what lies over it, and what is measured on it."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.data.phantom import draw


def test_dragging_changes_the_window_and_so_the_pixels(viewer: Any, real: Path) -> None:
    viewer.open(real)
    before, stored = viewer.grey().astype(int), viewer.window()
    box = viewer.page.locator(".viewport.active").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(*middle)
    viewer.page.mouse.down()
    viewer.page.mouse.move(middle[0] - 240, middle[1] + 120, steps=6)
    viewer.page.mouse.up()
    viewer.settled()
    centre, width = viewer.window()
    assert width == pytest.approx(stored[1] / 2, rel=0.02), "240 pixels to the left halve the width"
    assert centre > stored[0]
    after = viewer.grey().astype(int)
    assert after.mean() < before.mean() - 20, "down is darker"
    viewer.press(" ")
    viewer.settled()
    assert (viewer.grey() == before).all(), "space brings it back"


def test_detail_below_eight_bits_survives(viewer: Any, tmp_path: Path) -> None:
    """A square that lies 60 of 65536 above its surroundings, a quarter of an 8-bit step."""
    film = draw(1, size=512).pixels.astype(np.uint16) * 257
    film[200:300, 200:300] = 30000
    film[230:270, 230:270] = 30060
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), film)
    viewer.open(path)
    viewer.press("o")  # one to one: the film's middle in the middle of the screen
    viewer.settled()
    inner, outer = _around(viewer, 250, 250), _around(viewer, 215, 215)
    assert abs(inner - outer) <= 1
    _narrow(viewer, (250, 250), 600)
    assert _around(viewer, 250, 250) - _around(viewer, 215, 215) > 15


def test_presets_invert_and_the_lists_word(viewer: Any, real: Path) -> None:
    viewer.open(real)
    stored = viewer.window()
    seen = {stored}
    for key in "2345":
        viewer.press(key)
        viewer.settled()
        seen.add(viewer.window())
    assert len(seen) == 5
    viewer.press("2")
    viewer.settled()
    assert viewer.page.input_value("#preset") == "1"
    lungs = viewer.grey().astype(int)
    viewer.press("i")
    viewer.settled()
    inside = viewer.grey()[300:500, 300:500].astype(int)
    assert (inside + lungs[300:500, 300:500] == 255).all()
    assert "Inverted" in viewer.text(".viewport.active .turned")


def test_the_wheel_zooms_at_the_pointer(viewer: Any, real: Path) -> None:
    viewer.open(real)
    box = viewer.page.locator(".viewport.active").bounding_box()
    at = box["x"] + 300, box["y"] + 500
    viewer.page.mouse.move(*at)
    before = viewer.text(".viewport.active .value").split(":")[0]
    scale = viewer.scale()
    viewer.page.mouse.wheel(0, -300)
    viewer.settled()
    assert viewer.scale() > 1.4 * scale
    viewer.page.mouse.move(at[0] + 1, at[1])
    viewer.page.mouse.move(*at)
    places = [
        list(map(int, text.split(", ")))
        for text in (before, viewer.text(".viewport.active .value").split(":")[0])
    ]
    assert np.abs(np.subtract(*places)).max() <= 3, "what lay under the pointer still does"


def test_fit_one_to_one_and_pan(viewer: Any, real: Path) -> None:
    viewer.open(real)
    fitted, picture = viewer.scale(), viewer.grey()
    viewer.press("o")
    viewer.settled()
    assert viewer.scale() == 100
    film = _film(viewer)
    grey = viewer.grey()
    rows, columns = grey.shape
    top, left = (
        -math.floor((seen - whole) / 2 + 0.5) for seen, whole in zip(grey.shape, film.shape, strict=True)
    )
    shown = film[top : top + rows, left : left + columns]
    expected = np.clip(np.floor((shown - (32767 - 65534 / 2)) * 255 / 65534 + 0.5), 0, 255)
    assert np.abs(grey - expected).max() <= 1, "one to one, a pixel is the film's own"
    viewer.press("p", "Shift+ArrowLeft")
    viewer.settled()
    assert (viewer.grey()[:, :-24] == grey[:, 24:]).all(), "pulled by 24 pixels"
    viewer.press("=")
    viewer.settled()
    assert viewer.scale() == fitted
    assert (viewer.grey() == picture).all()


def test_a_flip_is_told_and_the_sides_follow(viewer: Any, real: Path) -> None:
    viewer.open(real)
    grey = viewer.grey()
    assert _sides(viewer) == ["R", "L"]
    assert viewer.text(".viewport.active .turned") == ""
    viewer.press("h")
    viewer.settled()
    assert _sides(viewer) == ["L", "R"]
    assert viewer.text(".viewport.active .turned") == "Flipped left to right"
    assert np.abs(viewer.grey().astype(int) - grey[:, ::-1]).mean() < 2
    viewer.press("h", "v")
    viewer.settled()
    assert _sides(viewer) == ["R", "L"]
    assert viewer.text(".viewport.active .turned") == "Flipped top to bottom"
    assert np.abs(viewer.grey().astype(int) - grey[::-1]).mean() < 2


def test_outlines_lie_on_the_structures(viewer: Any, real: Path) -> None:
    viewer.open(real)
    viewer.press("c")
    viewer.settled()
    drawn = viewer.over()
    for colour in ((86, 180, 233), (240, 228, 66), (213, 94, 0)):
        where = (np.abs(drawn[..., :3].astype(int) - colour).max(axis=2) < 12) & (drawn[..., 3] > 200)
        assert where.sum() > 200, colour
    right = np.flatnonzero((np.abs(drawn[..., :3].astype(int) - (86, 180, 233)).max(axis=2) < 12).any(axis=0))
    left = np.flatnonzero((np.abs(drawn[..., :3].astype(int) - (240, 228, 66)).max(axis=2) < 12).any(axis=0))
    assert right.mean() < left.mean(), "the patient's right lung at the picture's left"
    viewer.press("m")
    viewer.settled()
    assert not viewer.over()[..., 3].any()
    viewer.press("m")
    viewer.page.focus("#fill")
    viewer.press(*["ArrowRight"] * 30)
    viewer.settled()
    assert (viewer.over()[..., 3] > 40).mean() > (drawn[..., 3] > 40).mean() + 0.2, "filled"


def test_evidence_is_washed_over_the_film_with_its_legend(viewer: Any, real: Path) -> None:
    viewer.open(real)
    viewer.press("m", "c", "g")
    viewer.page.wait_for_selector(".viewport.active .legend", state="visible")
    viewer.settled()
    assert viewer.text(".viewport.active .legend .name") == "Evidence for Atelectasis"
    assert re.fullmatch(r"\d+\.\d logits", viewer.text(".viewport.active .legend .most"))
    assert viewer.page.get_attribute("button.label[data-label=Atelectasis]", "aria-pressed") == "true"
    first = viewer.over()
    assert (first[..., 3] > 60).mean() > 0.01
    viewer.page.click("button.label[data-label='Pleural Effusion']")
    viewer.page.wait_for_function(
        "() => document.querySelector('.active .legend .name').textContent.endsWith('Effusion')"
    )
    viewer.settled()
    assert not np.array_equal(first, viewer.over())
    assert viewer.page.input_value("#evidence") == "Pleural Effusion"
    viewer.page.click("button.label[data-label='Pleural Effusion']")
    viewer.page.wait_for_selector(".viewport.active .legend", state="hidden")
    viewer.settled()
    assert not viewer.over().any()


def test_a_map_that_does_not_come_leaves_no_other_labels_in_its_place(viewer: Any, real: Path) -> None:
    viewer.open(real)
    viewer.press("m", "c", "g")
    viewer.page.wait_for_selector(".viewport.active .legend", state="visible")
    error = {"code": "x", "reason": "the film is kept no longer", "remedy": "send it again"}
    viewer.page.route("**/evidence/*", lambda route: route.fulfill(status=410, json={"error": error}))
    viewer.page.click("button.label[data-label='Pleural Effusion']")
    viewer.page.wait_for_selector("#trouble", state="visible")
    viewer.settled()
    assert not viewer.over().any()
    assert viewer.page.is_hidden(".viewport.active .legend")
    assert viewer.page.input_value("#evidence") == ""


def test_the_ratio_follows_its_lines(viewer: Any, real: Path) -> None:
    viewer.open(real)
    assert "0.51" in viewer.text("#ratio")
    assert "changed" not in viewer.text("#ratio")
    handle = viewer.page.locator("[data-key=heart-from]").bounding_box()
    at = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    viewer.page.mouse.move(*at)
    viewer.page.mouse.down()
    viewer.page.mouse.move(at[0] - 80, at[1], steps=4)
    viewer.page.mouse.up()
    viewer.settled()
    said = viewer.text("#ratio")
    expected = (805 + 80 / (viewer.scale() / 100)) / 1590
    assert float(re.search(r"0\.\d\d", said).group()) == pytest.approx(expected, abs=0.011)
    assert "changed by you" in said
    assert "measured 0.51" in said
    viewer.page.click("#restore")
    assert "changed" not in viewer.text("#ratio")


def test_keys_move_a_lines_end_as_often_as_they_are_pressed(viewer: Any, real: Path) -> None:
    viewer.open(real)
    viewer.page.focus("[data-key=thorax-to]")
    viewer.press(*["Shift+ArrowLeft"] * 20, *["ArrowRight"] * 5)
    viewer.settled()
    handle = viewer.page.locator("[data-key=thorax-to]")
    assert handle.get_attribute("aria-valuenow") == str(1694 - 200 + 5)
    assert handle.get_attribute("aria-valuetext") == f"column 1499, ratio {805 / 1395:.2f}"
    viewer.press("h")  # over a flipped film an arrow still goes where it points
    viewer.press("ArrowLeft")
    viewer.settled()
    assert handle.get_attribute("aria-valuenow") == "1500"


def test_a_ruler_tells_millimetres_where_the_spacing_is_known(
    viewer: Any, real: Path, dicom: Callable[..., Path]
) -> None:
    viewer.open(dicom("spaced.dcm", ImagerPixelSpacing=[0.4, 0.2]))
    viewer.press("l")
    box = viewer.page.locator(".viewport.active").bounding_box()
    at = box["x"] + 250, box["y"] + 150
    viewer.page.mouse.move(*at)
    viewer.page.mouse.down()
    viewer.page.mouse.move(at[0] + 100, at[1], steps=4)
    viewer.page.mouse.up()
    viewer.settled()
    pixel = viewer.scale() / 100
    said = viewer.text("#rulers")
    assert float(re.search(r"([\d.]+) mm", said).group(1)) == pytest.approx(100 / pixel * 0.2, rel=0.02)
    viewer.open(real)
    viewer.press("l")
    viewer.page.focus(".viewport.active")
    viewer.press("Enter")
    assert re.search(r"\d+ pixels", viewer.text("#rulers"))
    viewer.press("Delete")
    assert viewer.text("#rulers") == ""


def test_an_earlier_film_stands_beside_and_moves_along(viewer: Any, dicom: Callable[..., Path]) -> None:
    who = {"PatientID": "twice", "PatientName": "Twice^Filmed"}
    viewer.visit()
    viewer.add(dicom("first.dcm", 7, StudyDate="20200101", **who))
    viewer.open(dicom("second.dcm", 8, StudyDate="20210101", **who))
    viewer.page.click(".priors button")
    viewer.page.wait_for_selector("#films.two")
    viewer.settled()
    films = viewer.page.locator(".viewport")
    assert films.count() == 2
    assert [film.locator(".when").inner_text()[:10] for film in films.all()] == ["2020-01-01", "2021-01-01"]
    fitted = _scales(viewer)
    viewer.press("+", "+")
    viewer.settled()
    linked = _scales(viewer)
    assert linked[1] > 1.5 * fitted[1]
    assert linked[0] == pytest.approx(linked[1], rel=0.01), "films of one size, seen alike"
    viewer.page.uncheck("#linked")
    viewer.press("ArrowLeft", "-")
    viewer.settled()
    assert _scales(viewer)[1] == linked[1]
    assert _scales(viewer)[0] != linked[0]
    viewer.page.click(".priors button")
    viewer.page.wait_for_selector("#films:not(.two)")


def test_an_earlier_film_that_comes_late_stands_beside_no_other_patients(
    viewer: Any, dicom: Callable[..., Path]
) -> None:
    who = {"PatientID": "late", "PatientName": "Late^Prior"}
    viewer.visit()
    viewer.add(
        dicom("early.dcm", 7, StudyDate="20200101", **who), dicom("stranger.dcm", 9, PatientID="other")
    )
    viewer.open(dicom("later.dcm", 8, StudyDate="20210101", **who))
    viewer.page.reload()  # nothing is at hand
    viewer.shown("later.dcm")
    held: list[Any] = []
    early = viewer.page.get_attribute(".priors button", "data-id")
    viewer.page.route(f"**/v1/results/{early}/film.npy", lambda route: held.append(route))
    with viewer.page.expect_request("**/film.npy"):
        viewer.page.click(".priors button")
    with viewer.page.expect_event("requestfailed", lambda asked: early in asked.url):
        viewer.page.click("[role=option]:has-text('stranger.dcm')")
        viewer.shown("stranger.dcm")
    assert not viewer.page.is_visible("#films.two")
    assert viewer.page.is_hidden("#trouble")


def test_the_earlier_film_that_was_chosen_last_stands_beside(viewer: Any, dicom: Callable[..., Path]) -> None:
    who = {"PatientID": "thrice", "PatientName": "Thrice^Filmed"}
    viewer.visit()
    viewer.add(*(dicom(f"{year}.dcm", year, StudyDate=f"{year}0101", **who) for year in (2019, 2020)))
    viewer.open(dicom("2021.dcm", 2021, StudyDate="20210101", **who))
    viewer.page.reload()  # nothing is at hand
    viewer.shown("2021.dcm")
    held: list[Any] = []
    viewer.page.route("**/film.npy", lambda route: route.continue_() if held else held.append(route))
    with viewer.page.expect_request("**/film.npy"):
        viewer.page.click(".priors button >> text=2020")
    viewer.page.click(".priors button >> text=2019")
    viewer.page.wait_for_selector("#films.two")
    with contextlib.suppress(Exception):  # the page has given it up
        held[0].continue_()
    viewer.page.wait_for_timeout(1000)
    assert viewer.page.locator(".viewport .when").first.inner_text()[:4] == "2019"


def test_a_map_that_fails_late_is_not_told_of_another_film(
    viewer: Any, real: Path, dicom: Callable[..., Path]
) -> None:
    viewer.visit()
    viewer.add(dicom("next.dcm", 4, PatientID="next"))
    viewer.open(real)
    viewer.page.reload()
    viewer.shown(real.name)
    held: list[Any] = []
    viewer.page.route("**/evidence/*", lambda route: held.append(route))
    with viewer.page.expect_request("**/evidence/*"):
        viewer.press("g")
    viewer.page.click("[role=option]:has-text('next.dcm')")
    viewer.shown("next.dcm")
    said = viewer.text("#status")
    error = {"code": "busy", "reason": "the queue is full", "remedy": "try again"}
    with viewer.page.expect_response("**/evidence/*"):
        held[0].fulfill(status=503, json={"error": error})
    viewer.settled()
    assert viewer.page.is_hidden("#trouble")
    assert viewer.text("#status") == said


def _film(viewer: Any) -> Any:
    """The film's 16-bit values, as the service sends them."""
    return np.load(io.BytesIO(viewer.fetched("/film.npy"))).astype(float)


def _sides(viewer: Any) -> list[str]:
    return [viewer.text(f".viewport.active .side-{side}") for side in ("left", "right")]


def _scales(viewer: Any) -> list[int]:
    """Of the earlier film and the later, in per cent."""
    texts = viewer.page.locator(".viewport .seen").all_inner_texts()
    return [int(text.split("·")[1].strip(" %")) for text in texts]


def _around(viewer: Any, column: int, row: int) -> float:
    """The mean grey around a pixel of a 512 film that is shown one to one."""
    grey = viewer.grey()
    y, x = round(grey.shape[0] / 2 - 256 + row), round(grey.shape[1] / 2 - 256 + column)
    return float(grey[y - 4 : y + 5, x - 4 : x + 5].mean())


def _narrow(viewer: Any, at: tuple[int, int], width: int) -> None:
    """Narrow the window around the film's value at a place, by keys."""
    target = _film(viewer)[at[1], at[0]]
    viewer.page.focus(".viewport.active")
    viewer.press("w")
    for _ in range(300):
        centre, wide = viewer.window()
        if abs(target - centre) > 0.03 * wide:
            viewer.press("Shift+ArrowDown" if target > centre else "Shift+ArrowUp")
        elif wide > width:
            viewer.press("Shift+ArrowLeft")
        else:
            break
        viewer.page.wait_for_timeout(25)
    viewer.settled()
