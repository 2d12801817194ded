"""What axe-core finds in each state of the page: nothing."""

from __future__ import annotations

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

STATES = ("welcome", "film", "evidence", "rejected", "error", "help", "delete", "compared")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(
    make: Any, scheme: str, real: Path, dicom: Callable[..., Path], tmp_path: Path
) -> None:
    viewer = make(color_scheme=scheme)
    for state in STATES:
        _bring(viewer, state, real, dicom, tmp_path)
        assert not _violations(viewer), state


def test_axe_finds_nothing_on_a_phone_and_in_the_tokens_dialog(make: Any, locked: str, real: Path) -> None:
    viewer = make(**PHONE)
    viewer.open(real)
    assert not _violations(viewer)
    other = make(locked)
    other.page.goto(locked)
    other.page.wait_for_selector("dialog#token[open]")
    assert not _violations(other)


def _bring(viewer: Any, state: str, real: Path, dicom: Callable[..., Path], tmp_path: Path) -> None:
    """Put the page into a state; each goes out from the one before it."""
    match state:
        case "welcome":
            viewer.visit()
        case "film":
            viewer.open(real)
            viewer.press("l")
            viewer.page.focus(".viewport.active")
            viewer.press("Enter")
            for details in viewer.page.locator("details > summary").all():
                details.click()
        case "evidence":
            viewer.press("g")
            viewer.page.wait_for_selector(".viewport.active .legend", state="visible")
        case "rejected":
            viewer.open(dicom("axe.dcm", ViewPosition="LL", PatientID="axe"))
        case "error":
            (tmp_path / "broken.dcm").write_bytes(b"broken")
            viewer.add(tmp_path / "broken.dcm")
        case "help":
            viewer.press("?")
        case "delete":
            viewer.press("Escape")
            viewer.page.click("text=Delete this film")
        case "compared":
            viewer.press("Escape")
            viewer.open(dicom("axe-later.dcm", StudyDate="20300101", PatientID="axe"))
            viewer.page.click(".priors button")
            viewer.page.wait_for_selector("#films.two")


def _violations(viewer: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    viewer.settled()
    found = axe.Axe().run(viewer.page).response["violations"]
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes']]} {one['nodes'][0].get('failureSummary')}"
        for one in found
    ]
