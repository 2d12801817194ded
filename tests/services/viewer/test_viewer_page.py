"""The page: keys alone, hostile words, the token, themes, phones, paper, and what axe-core finds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PHONE = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
TOKEN = "a token that only its tests know"
DISCLAIMER = "Research use only. Not a medical device."
HOSTILE = "<img src=x onerror=window.pwned=1>"


def test_keys_alone_lead_from_the_film_to_its_report(viewer: Any, real: Path) -> None:
    viewer.visit()
    with viewer.page.expect_file_chooser() as chooser:
        viewer.settled()  # until Chromium has been told to ask Playwright
        viewer.press("u")
    chooser.value.set_files(real)
    viewer.shown(real.name)
    stored = viewer.window()
    viewer.press("2")
    viewer.settled()
    assert viewer.window() != stored
    viewer.press("g")
    viewer.page.wait_for_selector(".viewport.active .legend", state="visible")
    _tab_to(viewer, "[data-key=heart-to]")
    viewer.press("Shift+ArrowRight")
    assert "changed by you" in viewer.text("#ratio")
    _tab_to(viewer, "#panel [data-part='report.json']")
    with viewer.page.expect_download() as saved:
        viewer.press("Enter")
    assert saved.value.suggested_filename == f"{real.name}.json"


def test_focus_is_always_seen(viewer: Any, real: Path) -> None:
    viewer.open(real)
    viewer.page.focus("#toggle-list")
    for _ in range(40):
        viewer.press("Tab")
        style = viewer.page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " return [document.activeElement.tagName, s.outlineStyle, s.outlineWidth]; })()"
        )
        assert style[0] == "BODY" or (style[1] != "none" and style[2] != "0px"), style


def test_single_character_keys_can_be_switched_off(viewer: Any, phantom: Path) -> None:
    viewer.open(phantom)
    viewer.press("?")
    assert viewer.page.locator("#help-keys tr").count() > 30
    viewer.page.uncheck("#help-on")
    viewer.press("Escape", "i")
    viewer.settled()
    assert viewer.page.get_attribute("[data-action=invert]", "aria-pressed") == "false"
    viewer.page.reload()
    viewer.shown(phantom.name)
    viewer.press("i")
    viewer.settled()
    assert viewer.page.get_attribute("[data-action=invert]", "aria-pressed") == "false"


def test_keys_are_left_to_fields_that_want_them(viewer: Any, phantom: Path) -> None:
    viewer.open(phantom)
    viewer.press("/")
    viewer.page.keyboard.type("him")
    viewer.settled()
    assert viewer.page.input_value("#search") == "him"
    assert viewer.page.get_attribute("[data-action=invert]", "aria-pressed") == "false"


def test_keys_scroll_the_panel_once_they_have_reached_it(make: Any, real: Path) -> None:
    viewer = make(viewport={"width": 1440, "height": 400})
    viewer.open(real)
    _tab_to(viewer, "#panel")
    at = viewer.page.url
    viewer.press("PageDown", "ArrowDown")
    viewer.page.wait_for_function("() => document.getElementById('panel').scrollTop > 100")
    assert viewer.page.url == at and viewer.text("#status") != "Loading the film"


def test_the_toolbar_is_one_stop_and_arrows_move_in_it(viewer: Any) -> None:
    viewer.visit()
    viewer.page.focus("[data-action=window]")
    viewer.press("ArrowRight")
    assert viewer.page.evaluate("document.activeElement.dataset.action") == "zoom"
    viewer.press("Enter")
    assert viewer.page.get_attribute("[data-action=zoom]", "aria-checked") == "true"
    viewer.press("Tab")
    assert not viewer.page.evaluate("document.activeElement.closest('[role=toolbar]')")


def test_hostile_words_stay_words(viewer: Any, dicom: Callable[..., Path]) -> None:
    film = dicom(
        f"{HOSTILE.replace('/', '')}.dcm",
        PatientName=f"{HOSTILE}^<script>window.pwned=2</script>",
        PatientID="'\"><svg onload=window.pwned=3>",
        StudyDescription="<iframe srcdoc='<script>parent.pwned=4</script>'>",
        AccessionNumber="<b>bold</b>",
    )
    viewer.open(film)
    viewer.press("?", "Escape")
    viewer.page.click("text=Delete this film")
    viewer.page.click("dialog[open] >> text=Keep")
    viewer.page.emulate_media(media="print")
    viewer.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    viewer.page.emulate_media(media="screen")
    viewer.page.wait_for_timeout(300)
    assert viewer.page.evaluate("window.pwned") is None
    assert (
        viewer.page.locator(
            "#stage img, #panel img, #rows img, #paper img, iframe, #panel b >> text=bold"
        ).count()
        == 0
    )
    assert "<img src" in viewer.text(".viewport.active .who")
    assert "<iframe" in viewer.text(".viewport.active .when")
    assert "<img src" in viewer.text("[role=option][aria-selected=true]")


def test_hostile_answers_stay_words(viewer: Any) -> None:
    error = {"code": "x", "reason": HOSTILE, "remedy": HOSTILE}
    viewer.page.route("**/v1/results?*", lambda route: route.fulfill(status=500, json={"error": error}))
    viewer.visit()
    assert viewer.text("#rows-none") == HOSTILE
    assert viewer.page.evaluate("window.pwned") is None


def test_the_token_is_asked_for_and_kept_for_the_tab(make: Any, locked: str, phantom: Path) -> None:
    viewer = make(locked)
    viewer.page.goto(locked)
    viewer.page.wait_for_selector("dialog#token[open]")
    viewer.press("Escape")
    assert viewer.page.is_visible("#token"), "there is nothing to see without it"
    # No header can hold the first, which a word processor has set in quotes.
    for wrong in ("“wrong”", "wrong"):
        viewer.page.fill("#token-value", wrong)
        viewer.press("Enter")
        viewer.page.wait_for_function(
            "() => document.getElementById('token').open && !document.getElementById('token-value').value"
            " && document.getElementById('token-why').textContent.includes('refused')"
        )
    viewer.page.fill("#token-value", TOKEN)
    viewer.press("Enter")
    viewer.page.wait_for_selector("#rows-none:not([hidden])")
    viewer.add(phantom)
    viewer.shown(phantom.name)
    with viewer.page.expect_download() as saved:
        viewer.page.click("[data-part='report.html']")
    assert DISCLAIMER in Path(saved.value.path()).read_text()
    viewer.page.reload()
    viewer.shown(phantom.name)
    assert viewer.page.evaluate("[...Object.keys(localStorage)].join()") == "", "never on the disk"
    assert TOKEN not in viewer.page.url


def test_a_browser_that_keeps_nothing_will_do(make: Any, real: Path) -> None:
    viewer = make()
    viewer.page.add_init_script(
        "for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area,"
        " { get() { throw new DOMException('blocked', 'SecurityError'); } });"
    )
    viewer.open(real)
    viewer.page.click("[data-action=theme]")
    viewer.press("?")


def test_dark_by_default_light_where_asked_for(make: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, light = make(), make(color_scheme="light")
    for viewer, bright in ((dark, False), (light, True)):
        viewer.visit()
        assert (_brightness(viewer.page.evaluate(ground)) > 128) == bright
    dark.page.click("[data-action=theme]")
    assert _brightness(dark.page.evaluate(ground)) > 128
    dark.page.reload()
    assert _brightness(dark.page.evaluate(ground)) > 128, "the choice stays"


def test_no_preference_is_dark(make: Any) -> None:
    viewer = make(color_scheme="no-preference")
    viewer.visit()
    # Chromium has done away with "no preference", and Playwright's way to ask for it means light.
    viewer.page.emulate_media(color_scheme="dark")
    assert _brightness(viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")) < 60


def test_on_a_phone_the_parts_are_stacked_and_fingers_work(make: Any, real: Path) -> None:
    viewer = make(**PHONE)
    viewer.open(real)
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
    stage, panel = (viewer.page.locator(at).bounding_box() for at in ("#stage", "#panel"))
    assert panel["y"] >= stage["y"] + stage["height"] - 1
    assert stage["width"] == 390
    assert viewer.page.locator("footer .disclaimer").is_visible()
    stored = viewer.window()
    _touch(viewer, [[(200, 400)], [(140, 460)]])
    viewer.settled()
    assert viewer.window() != stored, "one finger: the tool in hand"
    before = viewer.scale()
    _touch(viewer, [[(180, 400), (220, 400)], [(120, 400), (280, 400)]])
    viewer.settled()
    after = viewer.scale()
    assert after == pytest.approx(4 * before, rel=0.05), "two fingers zoom"


def test_fingers_find_what_they_press(make: Any, real: Path) -> None:
    viewer = make(**PHONE)
    viewer.open(real)
    small = viewer.page.evaluate(
        "[...document.querySelectorAll('button, select, summary, .handle')].filter(e => e.checkVisibility())"
        ".map(e => [e.textContent || e.getAttribute('aria-label'), e.getBoundingClientRect()])"
        ".filter(([, box]) => box.width < 24 || box.height < 24).map(([name]) => name)"
    )
    assert not small, "WCAG 2.5.8: 24 by 24 pixels"


def test_motion_is_left_out_for_those_who_ask(make: Any) -> None:
    viewer = make(reduced_motion="reduce")
    viewer.visit()
    assert (
        viewer.page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    )


def test_the_disclaimer_is_always_there(make: Any, phantom: Path) -> None:
    viewer = make()
    viewer.visit()
    assert viewer.text("footer .disclaimer") == DISCLAIMER
    viewer.open(phantom)
    assert viewer.page.locator("footer .disclaimer").is_visible()


def test_on_paper_stands_the_report(viewer: Any, real: Path, tmp_path: Path) -> None:
    viewer.open(real)
    viewer.page.focus("[data-key=heart-to]")
    viewer.press("Shift+ArrowRight")
    viewer.press("h")
    viewer.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") == 1
    viewer.page.emulate_media(media="print")
    said = viewer.text("#paper")
    for words in (
        "Hilum report",
        "CompressedSamples, RG1",
        "changed by you (measured 0.51)",
        "flipped",
        DISCLAIMER,
    ):
        assert words in said
    assert viewer.page.is_hidden("#stage")
    assert viewer.page.evaluate("document.querySelector('#paper canvas').width") > 300


def _tab_to(viewer: Any, selector: str) -> None:
    for _ in range(120):
        if viewer.page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        viewer.press("Tab")
    pytest.fail(f"{selector} cannot be reached by Tab")


def _touch(viewer: Any, steps: list[list[tuple[int, int]]]) -> None:
    """Fingers down at the first places, then at each of the others, then up."""
    session = viewer.page.context.new_cdp_session(viewer.page)
    for i, fingers in enumerate(steps):
        points = [{"x": x, "y": y, "id": j} for j, (x, y) in enumerate(fingers)]
        session.send(
            "Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": points}
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def _brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3
