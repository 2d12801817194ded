"""The viewer's modules by themselves, beside the Python that says the same in reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.data.phantom import draw
from hilum.reporting import picture
from hilum.serve import app
from hilum.serve.wire import npy

STATIC = Path(app.__file__).parent / "static"
MODULES = sorted(STATIC.glob("*.js"))


def ask(viewer: Any, module: str, code: str, argument: Any = None) -> Any:
    """What a function of a module answers: `code` is a function of the module and the argument."""
    return viewer.page.evaluate(f"async (a) => ({code})(await import('/{module}.js'), a)", argument)


@pytest.fixture
def page(viewer: Any) -> Any:
    viewer.visit()
    return viewer


@pytest.mark.parametrize(
    "path", [*MODULES, *STATIC.glob("*.html"), *STATIC.glob("*.css")], ids=lambda p: p.name
)
def test_a_file_is_short_and_holds_nothing_that_a_strict_policy_refuses(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < 300
    for wrong in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "http://",
    ):
        assert wrong not in text.replace("http://www.w3.org/2000/svg", ""), wrong
    assert " style=" not in text
    assert "https://" not in text
    assert " onclick=" not in text


def test_the_wash_has_the_colours_of_the_reports(page: Any) -> None:
    drawn = ask(
        page,
        "evidence",
        """(m) => { const c = document.createElement("canvas"); c.width = 256; c.height = 1; m.legend(c);
        return [...c.getContext("2d").getImageData(0, 0, 256, 1).data]; }""",
    )
    expected = picture.bar(256, 1)[0].astype(int)
    assert np.abs(np.array(drawn).reshape(256, 4)[:, :3] - expected).max() <= 2


def test_the_outlines_have_the_colours_of_the_reports(page: Any) -> None:
    found = ask(page, "outline", "(m) => m.STRUCTURES.map((s) => [s.key, s.colour])")
    assert found == [[key, f"rgb({r} {g} {b})"] for key, (r, g, b) in picture.COLOURS.items()]


def test_a_map_lies_over_the_whole_film(page: Any) -> None:
    """Its strongest corner is at the film's own corner, and nothing speaks where it is negative."""
    corner = ask(
        page,
        "evidence",
        """(m) => { const data = new Float32Array(64).fill(-1); data[7] = 2;
        const c = m.wash({ data, rows: 8, columns: 8, strongest: 2 });
        const { data: drawn } = c.getContext("2d").getImageData(0, 0, c.width, c.height); const at = (x, y) =>
        drawn[4 * (y * c.width + x) + 3]; return [at(c.width - 1, 0), at(0, 0), at(0, c.height - 1)]; }""",
    )
    assert corner == [round(0.75 * 255), 0, 0]


@pytest.mark.parametrize("seed", [1, 4])
def test_the_ratios_lines_stand_where_the_reports_have_them(page: Any, seed: int) -> None:
    mask = draw(seed, size=128).mask
    given = {"data": mask.ravel().tolist(), "rows": 128, "columns": 128}
    for values in ([3], [1, 2]):
        row = ask(page, "outline", f"(m, mask) => m.widestRow(mask, {values})", given)
        assert row == pytest.approx(picture.widest(np.isin(mask, values)), abs=1)


def test_outlines_enclose_their_structures(page: Any) -> None:
    """Filled again, an outline covers its structure: also one in pieces, with a hole, at the film's edge."""
    mask = draw(2, size=256).mask
    mask[100:120, 60:70] = 0
    mask[0:30, 0:30] = 1
    mask[30:60, 30:60] = 1  # meets the other in a corner alone
    drawn = ask(
        page,
        "outline",
        """(m, mask) => {
        const x = new OffscreenCanvas(256, 256).getContext("2d", { willReadFrequently: true });
        return m.outlines({ ...mask, data: Uint8Array.from(mask.data) }).map(({ path }) => {
        x.clearRect(0, 0, 256, 256); x.fill(path, "evenodd");
        return [...x.getImageData(0, 0, 256, 256).data].filter((_, i) => i % 4 === 3); }); }""",
        {"data": mask.ravel().tolist(), "rows": 256, "columns": 256},
    )
    for value, alpha in enumerate(drawn, 1):
        filled, wanted = np.array(alpha).reshape(256, 256) > 127, mask == value
        assert 2 * (filled & wanted).sum() / (filled.sum() + wanted.sum()) > 0.97


@pytest.mark.parametrize("array", [
    np.arange(12, dtype="<u2").reshape(3, 4),
    np.eye(3, dtype="u1"),
    np.linspace(-1, 1, 10, dtype="<f4").reshape(2, 5),
], ids=["u2", "u1", "f4"])  # fmt: skip
def test_arrays_are_read_as_they_were_written(page: Any, array: Any) -> None:
    read = """(m, bytes) => { const a = m.parseNpy(Uint8Array.from(bytes).buffer);
        return [a.rows, a.columns, [...a.data]]; }"""
    rows, columns, values = ask(page, "npy", read, list(npy(array)))
    assert (rows, columns) == array.shape
    assert values == array.ravel().tolist()


@pytest.mark.parametrize("wrong", [
    b"<html>", npy(np.zeros((2, 2), "<u2"))[:-1], npy(np.zeros((2, 2), ">u2")), npy(np.zeros(4, "<u2")),
    npy(np.zeros((2, 2), "<u2")).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
])  # fmt: skip
def test_other_arrays_are_refused(page: Any, wrong: bytes) -> None:
    read = """(m, bytes) => { try { m.parseNpy(Uint8Array.from(bytes).buffer); return ""; }
        catch (e) { return e.message; } }"""
    assert ask(page, "npy", read, list(wrong)).startswith("The a")


def test_the_window_is_dicoms(page: Any) -> None:
    """PS3.3 C.11.2.1.2.1, as pydicom applies it."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 16, 0
    header.WindowCenter, header.WindowWidth = 20000, 1000
    values = np.arange(65536, dtype=np.uint16)
    expected = apply_windowing(values, header) / 65535 * 255
    found = ask(
        page, "grey", "(m) => [...m.table({ centre: 20000, width: 1000 }, false)].map((v) => v & 255)"
    )
    assert np.abs(np.array(found) - expected).max() <= 0.51


def test_halvings_and_mixtures_keep_sixteen_bits(page: Any) -> None:
    """A ramp seen at three eighths of its size is the ramp, to within a few of 65536 values."""
    ramp = np.linspace(1000, 60000, 400).astype(np.uint16)
    film = np.repeat(ramp[None], 300, axis=0)
    found = ask(
        page,
        "resample",
        """(m, film) => { const levels = m.pyramid({ ...film, data: Uint16Array.from(film.data) });
        const at = { scale: 0.375, step: 0.375, down: 0.375, left: 5, top: 3 };
        const s = m.resampled(levels, at, { width: 160, height: 120 }, false);
        return { ...s, data: [...s.data] }; }""",
        {"data": film.ravel().tolist(), "rows": 300, "columns": 400},
    )
    seen = np.array(found["data"]).reshape(found["height"], found["width"])
    assert (found["x"], found["y"], found["width"], found["height"]) == (5, 3, 150, 113)
    where = (np.arange(150) + 0.5) / 0.375 - 0.5
    expected = np.interp(where, np.arange(400), ramp)
    assert (
        np.abs(seen[:, 2:-2] - expected[2:-2]).max() < 80
    )  # of 59000 over 150 pixels: a fifth of a pixel's step


def test_presets_span_the_outlined_parts(page: Any) -> None:
    phantom = draw(3, size=128)
    film = phantom.pixels.astype(np.uint16) * 257
    presets = ask(
        page,
        "grey",
        "(m, a) => m.presets({ data: a.film, centre: 32767.5, width: 65535 }, { data: a.mask })",
        {"film": film.ravel().tolist(), "mask": phantom.mask.ravel().tolist()},
    )
    for name, parts in (("Lungs", [1, 2]), ("Heart and mediastinum", [3])):
        window = next(one["window"] for one in presets if one["name"] == name)
        low, high = np.quantile(film[np.isin(phantom.mask, parts)], [0.02, 0.98])
        assert window["centre"] - window["width"] / 2 == pytest.approx(low, abs=300)
        assert window["centre"] + window["width"] / 2 == pytest.approx(high, abs=300)


def test_the_documentation_lists_every_key(page: Any) -> None:
    said = (Path(__file__).parents[3] / "docs" / "viewer.md").read_text()
    for _, _, shown, _, text in ask(page, "keys", "(m) => m.KEYS"):
        assert f"| `{shown}` | {text} |" in said


def test_static_files_are_all_used() -> None:
    """Each file is named by another, so that none is left behind."""
    names = {path.name for path in STATIC.iterdir()} - {"index.html"}
    text = "\n".join(path.read_text() for path in STATIC.iterdir())
    assert {name for name in names if name not in text} == set()


def test_pictures_of_the_docs_are_small() -> None:
    picture_path = Path(__file__).parents[3] / "docs" / "viewer.png"
    assert picture_path.stat().st_size < 260_000
    assert cv2.imread(str(picture_path)).shape[1] >= 1200
