"""The picture of a report: outlines, wash and legend, on a synthetic chest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from hilum.reporting.overlay import overlay
from hilum.reporting.picture import COLOURS, bar, picture
from hilum.types import (
    STRUCTURES,
    Anatomy,
    Array,
    Heatmap,
    Measurements,
    Origin,
    Prediction,
    Radiograph,
    Reason,
    Report,
)

SHAPE = (600, 512)
BOXES = {"right_lung": (60, 420, 50, 200), "left_lung": (60, 420, 320, 470), "heart": (280, 460, 205, 315)}
LABELS = ("Atelectasis", "Cardiomegaly", "Edema", "No Finding")
FILM = round(0.4 * 255)  # grey of the film, which has no picture of its own


def blob(label: str, row: int, column: int, *, peak: float = 6) -> Heatmap:
    """Evidence of `peak` logits in a square of 80 pixels around (row, column), -1 elsewhere."""
    values = np.full(SHAPE, -1, np.float32)
    values[row - 40 : row + 40, column - 40 : column + 40] = peak
    return Heatmap(cells=values, shape=values.shape, label=label, method="evidence", in_lungs=0.5)


def make_report(**changes: Any) -> Report:
    mask = np.zeros(SHAPE, np.uint8)
    for value, (top, bottom, left, right) in enumerate(BOXES.values(), start=1):
        mask[top:bottom, left:right] = value
    origin = Origin(path="case.png", sha256="0f" * 32, format="PNG")
    report = Report(
        status="ok",
        radiograph=Radiograph(pixels=np.full(SHAPE, 0.4, np.float32), origin=origin),
        anatomy=Anatomy(mask=mask, quality=dict.fromkeys(STRUCTURES, 0.9)),
        measurements=None,
        prediction=Prediction(
            labels=LABELS,
            probabilities=(0.08, 0.71, 0.65, 0.99),
            thresholds=(0.22, 0.42, 0.30, 0.10),
            positive=(False, True, True, True),
            abstained=(False, False, True, False),
        ),
        heatmaps=(blob("Cardiomegaly", 370, 260), blob("Edema", 200, 120)),
        cards={},
        created="2026-01-05T10:11:12Z",
    )
    return replace(report, **changes)


def rejected(*reasons: str) -> Report:
    why = tuple(Reason(code="lateral", sentence=reason) for reason in reasons)
    return make_report(status="rejected", reasons=why, anatomy=None, prediction=None, heatmaps=())


def near_edge(box: tuple[int, int, int, int], distance: int) -> Array:
    """Where a pixel of SHAPE lies within `distance` of the box's outline."""
    top, bottom, left, right = box
    near = np.zeros(SHAPE, bool)
    near[top - distance : bottom + distance, left - distance : right + distance] = True
    near[top + distance : bottom - distance, left + distance : right - distance] = False
    return near


@pytest.mark.parametrize("name", STRUCTURES)
def test_each_structure_is_outlined_in_its_colour(name: str) -> None:
    drawn = (picture(make_report(), None) == COLOURS[name]).all(axis=2)
    assert not drawn[~near_edge(BOXES[name], 5)].any()
    top, bottom, left, right = BOXES[name]
    middle, centre = (top + bottom) // 2, (left + right) // 2
    for side in (
        drawn[middle, :centre],
        drawn[middle, centre:],
        drawn[:middle, centre],
        drawn[middle:, centre],
    ):
        assert side.any()


def test_film_is_grey_where_nothing_is_drawn() -> None:
    image = picture(rejected(), None)
    assert image.dtype == np.uint8
    assert image.shape == (*SHAPE, 3)
    assert (image == FILM).all()


def test_the_wash_lies_where_the_evidence_is() -> None:
    report = make_report(anatomy=None)
    plain, washed = (picture(report, heatmap) for heatmap in (None, report.heatmaps[1]))
    changed = (plain != washed).any(axis=2)
    assert (changed == (report.heatmaps[1].values > 0)).all()
    red, green, blue = washed[200, 120].astype(int)
    assert red > blue > green


def test_faint_evidence_stays_faint() -> None:
    strong, faint = blob("Edema", 200, 120), blob("Edema", 200, 120, peak=0.1)
    report = make_report(anatomy=None)
    shift = [abs(picture(report, m)[200, 120].astype(int) - FILM).max() for m in (strong, faint)]
    assert 0 < shift[1] < shift[0] / 4


def test_the_bar_starts_clear_and_ends_strong() -> None:
    image = bar(100, 8)
    assert image.shape == (8, 100, 3)
    assert np.ptp(image[0, 0]) == 0
    saturation = np.ptp(image[0].astype(int), axis=1)
    assert saturation[-1] == saturation.max() > 100


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((2000, 1000), 1024, (1024, 512)),
        ((256, 256), 1024, (512, 512)),
        ((256, 128), 300, (300, 150)),
        ((700, 600), 1024, (700, 600)),
        ((1, 3000), 1024, (1, 1024)),
    ],
)
def test_size_of_the_picture(shape: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    report = make_report()
    film = replace(report.radiograph, pixels=np.zeros(shape, np.float32))
    mask = np.zeros(shape, np.uint8)
    mask[0, 0] = 3  # the smallest structure there can be
    report = replace(report, radiograph=film, anatomy=Anatomy(mask=mask, quality={}), heatmaps=())
    assert picture(report, None, longest=longest).shape == (*expected, 3)


def film_part(report: Report, **arguments: Any) -> Array:
    return overlay(report, **arguments)[: SHAPE[0], : SHAPE[1]]


def test_the_legend_stands_beside_the_film() -> None:
    report = make_report()
    image = overlay(report)
    assert image.shape[0] >= SHAPE[0]
    assert image.shape[1] > SHAPE[1]
    legend = image[:, SHAPE[1] :].reshape(-1, 3)
    for colour in COLOURS.values():
        assert (legend == colour).all(axis=1).any()
    assert (film_part(report) == picture(report, report.heatmaps[1])).all()


def test_overlay_picks_the_finding_furthest_above_its_threshold() -> None:
    report = make_report()  # Edema 0.65 / 0.30 before Cardiomegaly 0.71 / 0.42
    assert (film_part(report) == picture(report, report.heatmaps[1])).all()
    # In log-odds 0.90 is further above 0.42 than 0.65 is above 0.30, by their ratio less far.
    surer = replace(report.prediction, probabilities=(0.08, 0.90, 0.65, 0.99)) if report.prediction else None
    assert (film_part(replace(report, prediction=surer)) == picture(report, report.heatmaps[0])).all()
    report = make_report(
        heatmaps=(*report.heatmaps[:1], blob("No Finding", 100, 100), blob("Atelectasis", 90, 90))
    )
    assert (film_part(report) == picture(report, report.heatmaps[0])).all()
    report = make_report(heatmaps=report.heatmaps[1:])  # no positive finding is left
    assert (film_part(report) == picture(report, None)).all()


def test_what_must_be_known_of_a_film_stands_in_the_legend() -> None:
    flags = (Reason(code="child", sentence="the patient is a child"),)
    plain = overlay(make_report())
    for warned in (make_report(flags=flags), make_report(notes=("AP film: the ratio is magnified",))):
        assert overlay(warned).shape != plain.shape or (overlay(warned) != plain).any()


def test_a_rejected_film_is_shown_with_its_reason() -> None:
    brief, wordy = (overlay(rejected(reason)) for reason in ("lateral", "lateral view " * 60))
    assert (brief[: SHAPE[0], : SHAPE[1]] == FILM).all()
    assert (brief[:200, SHAPE[1] :] > 200).any()
    assert wordy.shape[0] > brief.shape[0]  # the legend grows; no word is lost


# The widths of the cardiothoracic ratio. The heart is widest at rows 400 to 409; of the lungs, the right one
# reaches farthest out at rows 300 to 309 and the left one elsewhere.
HEART = ((280, 460, 230, 290), (400, 410, 205, 315))
RIGHT = ((60, 420, 80, 200), (300, 310, 40, 200))
LEFT = ((60, 420, 320, 440), (100, 110, 320, 470))
WHITE = (232, 234, 237)
WIDTHS = {"heart": (205, 315, 405, COLOURS["heart"]), "thorax": (40, 470, 305, WHITE)}


def measured(**changes: Any) -> Report:
    mask = np.zeros(SHAPE, np.uint8)
    for value, boxes in enumerate((RIGHT, LEFT, HEART), start=1):
        for top, bottom, left, right in boxes:
            mask[top:bottom, left:right] = value
    measurements = Measurements(
        cardiothoracic_ratio=110 / 430,
        right_lung_fraction=0.14,
        left_lung_fraction=0.14,
        heart_span=(205, 315),
        thorax_span=(40, 470),
    )
    return make_report(
        anatomy=Anatomy(mask=mask, quality=dict(zip(STRUCTURES, (0.97, 0.95, 0.884), strict=True))),
        measurements=replace(measurements, **changes),
        heatmaps=(),
    )


def unmeasured() -> Report:
    return replace(measured(), measurements=None)


def close(image: Array, colour: tuple[int, int, int]) -> Array:
    """Where a pixel is nearly of this colour; a smoothed line is a little darker than its own."""
    return np.asarray(np.abs(image.astype(int) - colour).max(axis=-1) <= 25)


@pytest.mark.parametrize("longest", [1024, 300])
@pytest.mark.parametrize(("left", "right", "row", "colour"), WIDTHS.values(), ids=WIDTHS)
def test_a_width_is_a_line_with_stops_where_the_structure_is_widest(
    left: int, right: int, row: int, colour: tuple[int, int, int], longest: int
) -> None:
    scale = min(longest, 600) / 600
    image = picture(measured(), None, longest=longest)
    start, end, middle = round(left * scale), round(right * scale), round(row * scale)
    assert close(image[middle, start : end + 1], colour).all()
    for stop in (start, end):
        assert close(image[middle - 4 : middle + 5, stop], colour).all()
    plain = picture(measured(cardiothoracic_ratio=None), None, longest=longest)
    for outside in (start - 8, end + 8):
        assert (image[middle, outside] == plain[middle, outside]).all()


def test_nothing_but_the_two_widths_is_drawn_for_the_ratio() -> None:
    changed = (picture(measured(), None) != picture(unmeasured(), None)).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert all(min(abs(row - 305), abs(row - 405)) < 10 for row in rows)
    between = [row for row in rows if changed[row, 260]]  # away from the stops a line is thin
    assert all(min(abs(row - 305), abs(row - 405)) < 5 for row in between)


def test_a_withheld_ratio_is_not_drawn() -> None:
    withheld = picture(measured(cardiothoracic_ratio=None), None)
    assert (withheld == picture(unmeasured(), None)).all()
    assert (withheld != picture(measured(), None)).any()


@pytest.fixture
def legend(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is written beside the film, line by line: the text at the left, and the value at the right."""
    lines: dict[str, str] = {}
    heights: dict[float, str] = {}
    write = ImageDraw.ImageDraw.text

    def noted(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, **how: Any) -> None:
        write(draw, place, text, **how)
        if how.get("anchor") == "ra":
            lines[heights[place[1]]] = text
        else:
            heights[place[1]] = text
            lines[text] = ""

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return lines


def test_the_legend_shows_the_quality_of_each_outline_and_the_ratio(legend: dict[str, str]) -> None:
    overlay(measured())
    assert legend["Outlines"] == "quality"
    assert [legend[name] for name in ("Right lung", "Left lung", "Heart")] == ["0.97", "0.95", "0.88"]
    assert legend["Cardiothoracic ratio"] == "0.26"


def test_the_legend_marks_an_outline_that_is_not_reliable(legend: dict[str, str]) -> None:
    report = measured(cardiothoracic_ratio=None)
    assert report.anatomy is not None
    overlay(replace(report, anatomy=replace(report.anatomy, unreliable=frozenset({"heart"}))))
    assert [legend[name] for name in ("Right lung", "Left lung", "Heart")] == ["0.97", "0.95", "0.88 !"]
    assert legend["Cardiothoracic ratio"] == "not given"


def test_the_legend_of_unjudged_outlines_has_no_figures(legend: dict[str, str]) -> None:
    report = unmeasured()
    assert report.anatomy is not None
    overlay(replace(report, anatomy=replace(report.anatomy, quality={})))
    assert [legend[name] for name in ("Right lung", "Left lung", "Heart")] == [""] * 3
    assert "Cardiothoracic ratio" not in legend


def test_the_legend_of_a_film_without_outlines_speaks_of_none(legend: dict[str, str]) -> None:
    overlay(rejected("lateral"))
    assert "lateral" in legend
    assert not {"Outlines", "Heart", "Cardiothoracic ratio"} & set(legend)
