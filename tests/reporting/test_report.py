"""A report's JSON, rows, page and files, on a synthetic chest."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset

from hilum import dicom
from hilum.card import Card, Metric, Preparation, Sets, Threshold
from hilum.errors import ConfigError, DataError, HilumError, ReadError
from hilum.labels import SIX
from hilum.report_files import FORMS, sweep, write
from hilum.reporting import report as forms
from hilum.reporting.overlay import overlay
from hilum.reporting.report_page import html, summary
from hilum.types import (
    DISCLAIMER,
    STRUCTURES,
    Anatomy,
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
PROBABILITIES = (0.08, 0.71, 0.12, 0.65, 0.35, 0.9)
THRESHOLDS = (0.22, 0.42, 0.2, 0.3, 0.33, 0.5)
ABSTAINED = (False, False, False, False, True, False)
OBJECTS = [f"{form}.dcm" for form in dicom.FORMS]
HOSTILE = "films/<script>alert('x')</script>.png"


def make_card(task: str) -> Card:
    thresholds = {
        label: Threshold(value=value, low=0.9 * value, high=1.1 * value, rule="sensitivity 0.90")
        for label, value in zip(SIX, THRESHOLDS, strict=True)
    }
    return Card(
        name=f"{task}-small",
        version="3",
        task="classify" if task == "classify" else "segment",
        labels=SIX if task == "classify" else ("none", *STRUCTURES),
        architecture="cnn",
        preparation=Preparation(size=256),
        thresholds=thresholds if task == "classify" else {},
        threshold_data="1,204 films of the tuning part" if task == "classify" else "",
        split_sha256="5e" * 32,
        files={"model.onnx": "ab" * 32},
    )


def blob(label: str, row: int, column: int, *, in_lungs: float = 0.5) -> Heatmap:
    """Evidence of 6 logits in a square of 80 pixels around (row, column), -1 elsewhere."""
    values = np.full(SHAPE, -1, np.float32)
    values[row - 40 : row + 40, column - 40 : column + 40] = 6
    return Heatmap(cells=values, shape=values.shape, label=label, method="evidence", in_lungs=in_lungs)


def make_report(**changes: Any) -> Report:
    mask = np.zeros(SHAPE, np.uint8)
    for value, (top, bottom, left, right) in enumerate(BOXES.values(), start=1):
        mask[top:bottom, left:right] = value
    header = Dataset()
    header.PatientName, header.PatientID = "DOE^JANE", "MRN-4711"
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = SHAPE
    origin = Origin(path="ward/case.dcm", sha256="0f" * 32, format="DICOM", header=header)
    radiograph = Radiograph(
        pixels=np.full(SHAPE, 0.4, np.float32),
        spacing=(0.5, 0.25),
        view="PA",
        origin=origin,
        notes=("window taken from the header",),
    )
    report = Report(
        status="ok",
        radiograph=radiograph,
        anatomy=Anatomy(mask=mask, quality={"right_lung": 0.97, "left_lung": 0.95, "heart": 0.88}),
        measurements=Measurements(
            cardiothoracic_ratio=0.4567891,
            right_lung_fraction=0.18,
            left_lung_fraction=0.17,
            right_lung_pixels=54000,
            left_lung_pixels=53500,
            lung_symmetry=0.83,
            heart_offset=0.06,
            heart_span=(205, 315),
            thorax_span=(50, 470),
            right_lung_cm2=210.4,
            left_lung_cm2=180.0,
            heart_width_mm=131.0,
            thorax_width_mm=287.0,
        ),
        prediction=Prediction(
            labels=SIX,
            probabilities=PROBABILITIES,
            thresholds=THRESHOLDS,
            positive=tuple(p >= t for p, t in zip(PROBABILITIES, THRESHOLDS, strict=True)),
            abstained=ABSTAINED,
        ),
        heatmaps=(blob("Cardiomegaly", 370, 260), blob("Edema", 200, 120, in_lungs=float("nan"))),
        cards={"segment": make_card("segment"), "classify": make_card("classify")},
        notes=("film is cropped close",),
        created="2026-01-05T10:11:12Z",
    )
    return replace(report, **changes)


def rejected(**changes: Any) -> Report:
    nothing = {"anatomy": None, "measurements": None, "prediction": None, "heatmaps": ()}
    reason = Reason(code="lungs", sentence="no lungs found; give a frontal chest film")
    why = {"status": "rejected", "reasons": (reason,)}
    return make_report(**nothing | why | changes)


def unsure() -> Report:
    """A film whose left lung and heart cannot be relied on, so that its ratio is withheld."""
    report = make_report(notes=("no cardiothoracic ratio: an outline is not reliable",))
    assert report.anatomy is not None and report.measurements is not None
    return replace(
        report,
        anatomy=replace(report.anatomy, unreliable=frozenset({"left_lung", "heart"})),
        measurements=replace(report.measurements, cardiothoracic_ratio=None),
    )


def named(path: str) -> Report:
    report = make_report()
    return replace(
        report, radiograph=replace(report.radiograph, origin=replace(report.radiograph.origin, path=path))
    )


UNREADABLE = ReadError("ward/bad.dcm", "3 frames, expected 1", "export a single frame")


# JSON


def test_json_says_everything() -> None:
    document = json.loads(json.dumps(forms.to_json(make_report()), allow_nan=False))
    assert document["file"] == "ward/case.dcm"
    assert (document["status"], document["reasons"]) == ("ok", [])
    assert document["input"] == {
        "sha256": "0f" * 32,
        "format": "DICOM",
        "rows": 600,
        "columns": 512,
        "spacing_mm": [0.5, 0.25],
        "view": "PA",
    }
    assert list(document["prediction"]) == list(SIX)
    assert document["prediction"]["Pleural Effusion"] == {
        "probability": 0.35,
        "threshold": 0.33,
        "positive": True,
        "abstained": True,
        "plausible": "",
    }
    assert document["measurements"] == {
        "cardiothoracic_ratio": 0.4567891,
        "right_lung_fraction": 0.18,
        "left_lung_fraction": 0.17,
        "right_lung_pixels": 54000,
        "left_lung_pixels": 53500,
        "lung_symmetry": 0.83,
        "heart_offset": 0.06,
        "heart_span": [205, 315],
        "thorax_span": [50, 470],
        "right_lung_cm2": 210.4,
        "left_lung_cm2": 180.0,
        "heart_width_mm": 131.0,
        "thorax_width_mm": 287.0,
    }
    assert document["quality"] == {"right_lung": 0.97, "left_lung": 0.95, "heart": 0.88}
    assert document["unreliable"] == []
    assert document["notes"] == ["window taken from the header", "film is cropped close"]
    assert document["models"]["classify"] == {
        "name": "classify-small",
        "version": "3",
        "sha256": "ab" * 32,
        "build": "as trained",
        "preprocessing": "stretch-256-p1-99-m0.5-s0.25",
        "split_sha256": "5e" * 32,
    }
    assert document["thresholds"]["data"] == "1,204 films of the tuning part"
    assert document["thresholds"]["labels"]["Edema"]["rule"] == "sensitivity 0.90"
    assert (document["created"], document["disclaimer"]) == ("2026-01-05T10:11:12Z", DISCLAIMER)
    assert re.match(r"\d+\.\d+", document["hilum"])


def test_json_has_null_for_nan_and_plain_numbers_for_numpy() -> None:
    quality: dict[str, Any] = {"heart": np.float32("nan"), "x": np.float32(1)}
    document = forms.to_json(make_report(anatomy=Anatomy(mask=np.zeros(SHAPE, np.uint8), quality=quality)))
    assert [m["in_lungs"] for m in document["heatmaps"]] == [0.5, None]
    assert document["quality"] == {"heart": None, "x": 1.0}
    assert type(document["quality"]["x"]) is float


def test_json_of_outlines_that_are_not_reliable() -> None:
    document = forms.to_json(unsure())
    assert document["unreliable"] == ["heart", "left_lung"]
    assert document["measurements"]["cardiothoracic_ratio"] is None
    assert document["measurements"]["heart_span"] == [205, 315]  # what was measured is still told
    assert document["quality"]["heart"] == 0.88


def test_json_of_a_rejected_film() -> None:
    document = forms.to_json(rejected(cards={}))
    assert (document["status"], document["reasons"]) == (
        "rejected",
        [{"code": "lungs", "sentence": "no lungs found; give a frontal chest film"}],
    )
    absent = ("prediction", "stage", "measurements", "quality", "unreliable", "thresholds")
    assert [document[key] for key in absent] == [None] * 6
    assert document["heatmaps"] == []


CHILD = Reason(code="child", sentence="the patient is a child")


def test_flags_stand_in_every_form_and_refuse_nothing() -> None:
    report = make_report(flags=(CHILD,))
    document = forms.to_json(report)
    assert document["flags"] == [{"code": "child", "sentence": "the patient is a child"}]
    assert (document["status"], document["reasons"]) == ("ok", [])
    assert forms.row("x", report, SIX)["notes"].startswith("the patient is a child; ")
    assert "the patient is a child" in Page(html(report)).words


# CSV


def test_columns_of_both_tables() -> None:
    assert ",".join(forms.columns(["A", "B"])) == (
        "file,status,A,B,A positive,B positive,abstained,"
        "cardiothoracic_ratio,right_lung_fraction,left_lung_fraction,quality,notes"
    )
    assert ",".join(forms.columns(())) == (
        "file,status,cardiothoracic_ratio,right_lung_fraction,left_lung_fraction,quality,notes"
    )


def test_row_of_a_scored_film() -> None:
    row = forms.row("ward/case.dcm", make_report(), SIX)
    assert row["file"] == "ward/case.dcm"
    assert row["status"] == "ok"
    assert [row[label] for label in SIX] == ["0.08", "0.71", "0.12", "0.65", "0.35", "0.9"]
    assert [row[f"{label} positive"] for label in SIX] == ["0", "1", "0", "1", "1", "1"]
    assert row["abstained"] == "Pleural Effusion"
    assert row["cardiothoracic_ratio"] == "0.456789"
    assert (row["right_lung_fraction"], row["left_lung_fraction"]) == ("0.18", "0.17")
    assert row["quality"] == "0.88"
    assert row["notes"] == "window taken from the header; film is cropped close"


def test_row_of_a_withheld_ratio_has_an_empty_cell() -> None:
    row = forms.row("ward/case.dcm", unsure(), SIX)
    assert (row["cardiothoracic_ratio"], row["right_lung_fraction"], row["quality"]) == ("", "0.18", "0.88")
    assert row["notes"].endswith("no cardiothoracic ratio: an outline is not reliable")


def test_abstained_labels_are_joined() -> None:
    prediction = make_report().prediction
    assert prediction is not None
    prediction = replace(prediction, abstained=(True, False, True, False, False, False))
    assert forms.row("x", make_report(prediction=prediction), SIX)["abstained"] == "Atelectasis|Consolidation"


@pytest.mark.parametrize(
    ("result", "status", "notes"),
    [
        (rejected(), "rejected", "no lungs found; give a frontal chest film; window taken from the header; "),
        (UNREADABLE, "error", "3 frames, expected 1; export a single frame"),
        (DataError("nothing there"), "error", "nothing there"),
    ],
)
def test_row_of_what_failed(result: Report | HilumError, status: str, notes: str) -> None:
    row = forms.row("x.dcm", result, SIX)
    assert (row["status"], row["notes"].startswith(notes)) == (status, True)
    assert {value for key, value in row.items() if key not in ("file", "status", "notes")} == {""}


@pytest.mark.parametrize("labels", [(), SIX, ("Edema", "Fracture")])
@pytest.mark.parametrize("result", [make_report(), unsure(), rejected(), UNREADABLE])
def test_rows_fit_their_columns(result: Report | HilumError, labels: tuple[str, ...], tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, forms.columns(labels))
        writer.writeheader()
        writer.writerow(forms.row("a, b.png", result, labels))
    with (tmp_path / "table.csv").open(newline="") as file:
        (back,) = csv.DictReader(file)
    assert back == forms.row("a, b.png", result, labels)
    assert list(back) == forms.columns(labels)
    assert back.get("Fracture", "") == ""


@pytest.mark.parametrize("first", ["=", "+", "-", "@", " =", "\t=", "\n="])
def test_no_cell_is_a_formula(first: str) -> None:
    evil = f"{first}HYPERLINK(1)"
    row = forms.row(evil, ReadError(evil, evil, evil), SIX)
    assert row["file"].startswith("./")
    assert row["notes"].startswith("'")
    assert not {"\n", "\t"} & set(row["notes"])


# The page


class Page(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = frozenset({"meta", "img", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.words += " " * (tag in {"td", "th"})

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("report", [make_report(), unsure(), rejected(), rejected(cards={}), named(HOSTILE)])
def test_page_is_whole_inert_and_self_contained(report: Report) -> None:
    text = html(report)
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.open == []
    assert {"script", "link", "iframe", "object", "base", "form", "a"}.isdisjoint(tag for tag, _ in page.tags)
    assert not re.search(r"https?:|url\(|@import", text)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "href" for name in attributes)
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
            assert attributes["alt"]
    assert ("html", {"lang": "en"}) in page.tags
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_page_shows_the_results() -> None:
    words = " ".join(Page(html(make_report())).words.split())
    for expected in (
        "ward/case.dcm",
        "Analysed Each above its threshold: Cardiomegaly (71 %) and Edema (65 %). ",
        "Left open: Pleural Effusion. The heart is 0.46",
        "Cardiomegaly 0.710 threshold 0.420 positive",
        "Pleural Effusion 0.350 threshold 0.330 left open",
        "Consolidation 0.120 threshold 0.200 negative",
        "Cardiothoracic ratio (PA) 0.46",
        "Heart width 131 mm",
        "Thorax width 287 mm",
        "Right lung 18.0 % of the image, 210 cm²",
        "Left lung 17.0 % of the image, 180 cm²",
        "Smaller lung over larger 0.83",
        "Right lung 0.97 Left lung 0.95 Heart 0.88",
        "Evidence for Cardiomegaly: positive, probability 0.71, threshold 0.42",
        "6.0 logits above the threshold; 50 % of it in lungs and heart",
        "How faithful this model's maps by evidence are was not measured.",
        "film is cropped close",
        "classify-small 3, preprocessing stretch-256-p1-99-m0.5-s0.25",
        "sensitivity 0.90; chosen on 1,204 films of the tuning part",
        DISCLAIMER,
    ):
        assert expected in words
    assert "nan" not in words.lower().split()


def test_page_marks_what_is_not_reliable() -> None:
    words = " ".join(Page(html(unsure())).words.split())
    assert "Cardiothoracic ratio (PA) not given" in words
    assert "Right lung 0.97 Left lung 0.95, not reliable Heart 0.88, not reliable" in words
    assert "no cardiothoracic ratio: an outline is not reliable" in words


def test_page_says_nothing_of_lengths_and_symmetry_that_are_not_known() -> None:
    measurements = Measurements(
        cardiothoracic_ratio=None, right_lung_fraction=0.18, left_lung_fraction=0.0, right_lung_pixels=54000
    )
    words = " ".join(Page(html(make_report(measurements=measurements))).words.split())
    assert "Right lung 18.0 % of the image Left lung 0.0 % of the image" in words
    assert not any(word in words for word in ("cm²", "Heart width", "Thorax width", "Smaller lung"))


def test_page_has_a_film_as_it_is_with_outlines_and_with_each_map() -> None:
    sources = [
        a["src"] for tag, a in Page(html(make_report())).tags if tag == "img" and a.get("class") is None
    ]
    films = [cv2.imdecode(np.frombuffer(decoded(source), np.uint8), cv2.IMREAD_COLOR) for source in sources]
    assert len(set(sources)) == 4
    assert {film.shape for film in films if film is not None} == {(*SHAPE, 3)}


def decoded(source: str | None) -> bytes:
    return base64.b64decode((source or "").partition(",")[2])


def test_one_view_of_the_film_is_chosen_without_scripts() -> None:
    text = html(make_report())
    tags = Page(text).tags
    chosen = [a["id"] for tag, a in tags if tag == "input"]
    assert [a["for"] for tag, a in tags if tag == "label"] == chosen == [f"view{i}" for i in (1, 2, 3, 4)]
    assert ["checked" in a for tag, a in tags if tag == "input"] == [True, False, False, False]
    for i, name in enumerate(chosen, 1):
        assert f"#{name}:checked ~ .figures figure:nth-child({i}) {{ display: block; }}" in text
    assert [a.get("class") for tag, a in tags if tag == "figure"] == ["plain", "plain", "map", "map"]


def test_a_film_with_one_view_has_nothing_to_choose() -> None:
    tags = [tag for tag, _ in Page(html(rejected())).tags]
    assert {"input", "label"}.isdisjoint(tags)
    assert tags.count("figure") == 1


def test_page_of_a_rejected_film_says_why() -> None:
    words = " ".join(Page(html(rejected())).words.split())
    assert "Rejected No lungs found; give a frontal chest film. " in words
    assert "No label was scored" in words


def with_sets(*plausible: str) -> Report:
    """A film of whose labels, each, these answers are not excluded."""
    report = make_report()
    assert report.prediction is not None
    sets = {
        label: Sets(coverage=0.9, present=0.2, absent=0.1, patients=(20, 20), reached=((0.8, 1), (0.8, 1)))
        for label in SIX
    }
    card = report.cards["classify"].model_copy(update={"sets": sets})
    return replace(
        report,
        cards={**report.cards, "classify": card},
        prediction=replace(report.prediction, plausible=plausible),
    )


def test_page_tells_which_answers_are_excluded() -> None:
    words = " ".join(Page(html(with_sets("absent", "present", "either", "neither", "", ""))).words.split())
    for told in (
        "negative presence excluded",
        "positive absence excluded",
        "negative either possible",
        "positive unlike films it knows",
        "the true answer is kept for 90 % of patients",
    ):
        assert told in words
    assert "excluded" not in Page(html(make_report())).words


def test_a_row_never_says_two_things_of_its_doubt() -> None:
    # Negative, positive, negative, positive, left open, positive: as PROBABILITIES, THRESHOLDS and ABSTAINED.
    words = " ".join(Page(html(with_sets("present", "absent", "", "", "absent", ""))).words.split())
    assert "threshold 0.220 negative in doubt Cardiomegaly" in words
    assert "threshold 0.420 positive in doubt Consolidation" in words
    assert "threshold 0.330 left open No Finding" in words


@pytest.mark.parametrize(
    ("positive", "abstained", "said"),
    [
        (
            "010110",
            "000000",
            "Each above its threshold: Cardiomegaly (71 %), Edema (65 %) and Pleural Effusion (35 %). ",
        ),
        ("001000", "000000", "Above its threshold: Consolidation (12 %). "),
        ("010000", "010000", "No label is called. Left open: Cardiomegaly. "),
        ("000001", "000000", "No finding is called; the film is called No Finding (90 %). "),
        ("000000", "000000", "No label is called. "),
    ],
)
def test_the_summary_is_of_what_was_called(positive: str, abstained: str, said: str) -> None:
    report = make_report()
    assert report.prediction is not None
    calls = [tuple(mark == "1" for mark in marks) for marks in (positive, abstained)]
    prediction = replace(report.prediction, positive=calls[0], abstained=calls[1])
    told = summary(replace(report, prediction=prediction))
    assert told == f"{said}The heart is 0.46 as wide as the chest."


@pytest.mark.parametrize(
    ("probability", "said"), [(0.043, "4 %"), (0.0043, "0.4 %"), (0.9962, "99.6 %"), (0.98, "98 %")]
)
def test_the_summary_never_rounds_to_certainty(probability: float, said: str) -> None:
    report = make_report()
    assert report.prediction is not None
    prediction = replace(
        report.prediction,
        probabilities=(0, 0, probability, 0, 0, 0),
        positive=(False, False, True, False, False, False),
        abstained=(False,) * 6,
    )
    assert summary(replace(report, prediction=prediction)).startswith(
        f"Above its threshold: Consolidation ({said})."
    )


def test_a_label_that_is_called_for_being_the_most_probable_has_no_threshold() -> None:
    report = make_report()
    assert report.prediction is not None
    card = report.cards["classify"].model_copy(update={"activation": "softmax", "thresholds": {}})
    prediction = replace(
        report.prediction,
        probabilities=(0.1, 0.393, 0.1, 0.1, 0.2, 0.107),
        thresholds=(0.393,) * 6,
        positive=(False, True, False, False, False, False),
        abstained=(False,) * 6,
    )
    report = replace(report, prediction=prediction, cards={**report.cards, "classify": card})
    text = html(report)
    words = " ".join(Page(text).words.split())
    assert "Called: Cardiomegaly (39 %)." in words
    assert "Cardiomegaly 0.393 positive" in words
    assert "threshold" not in words and 'class="tick"' not in text
    assert "ranks first is called." in words
    assert "leaning" not in forms.to_json(report)["thresholds"]
    leans = card.model_copy(update={"leaning": dict.fromkeys(SIX, 0.5)})
    leaning = replace(report, cards={"classify": leans})
    assert "ranks first is called, with more weight on rare ones" in " ".join(
        Page(html(leaning)).words.split()
    )
    assert forms.to_json(leaning)["thresholds"]["leaning"] == dict.fromkeys(SIX, 0.5)
    # Where a specialist with thresholds spoke, its labels have one.
    second = make_card("classify").model_copy(update={"labels": ("Cardiomegaly",)})
    both = replace(report, cards={**report.cards, "specialist": second})
    assert forms.ranked(both) == set(SIX) - {"Cardiomegaly"}
    assert "Cardiomegaly 0.393 threshold 0.393 positive" in " ".join(Page(html(both)).words.split())


def test_the_summary_of_other_films() -> None:
    assert summary(rejected()) == "No lungs found; give a frontal chest film."
    assert summary(unsure()).endswith("No cardiothoracic ratio.")
    assert summary(make_report(prediction=None)) == "The heart is 0.46 as wide as the chest."


def test_flags_stand_above_the_film() -> None:
    text = html(make_report(flags=(CHILD,)))
    assert text.index("the patient is a child") < text.index("<figure")


def bars(report: Report) -> dict[str, tuple[float, float]]:
    """Label -> length of its bar and place of its threshold, of 100."""
    text = html(report)
    found = re.findall(
        r'class="value[^"]*" y="4" width="([\d.]+)".*?class="tick" x1="([\d.]+)"', text, flags=re.S
    )
    return {label: (float(a), float(b)) for label, (a, b) in zip(SIX, found, strict=True)}


def test_bars_go_by_the_odds() -> None:
    drawn = bars(make_report())
    assert drawn["No Finding"][1] == 50  # a probability of 0.5
    for label, probability, threshold in zip(SIX, PROBABILITIES, THRESHOLDS, strict=True):
        value, tick = drawn[label]
        assert (value >= tick) == (probability >= threshold)
        # 0.001 stands at the left end, 0.999 at the right one.
        assert value == pytest.approx(
            50 + 50 * np.log(probability / (1 - probability)) / np.log(999), abs=0.01
        )
    assert report_with(0.0)[0] == 0
    assert report_with(1.0)[0] == 100


def report_with(probability: float) -> tuple[float, float]:
    report = make_report()
    assert report.prediction is not None
    changed = replace(report.prediction, probabilities=(probability, *PROBABILITIES[1:]))
    return bars(replace(report, prediction=changed))["Atelectasis"]


def test_page_escapes_names_and_notes() -> None:
    text = html(replace(named(HOSTILE), notes=('"><img src=x onerror=alert(1)>',)))
    page = Page(text)
    assert HOSTILE in page.words
    assert '"><img src=x onerror=alert(1)>' in page.words
    assert "<script" not in text


@pytest.mark.parametrize("form", ["json", "html"])
def test_no_patient_identifier_leaves_the_header(form: str, tmp_path: Path) -> None:
    text = make_report().save(tmp_path / f"case.{form}").read_text("utf-8")
    assert "DOE" not in text
    assert "MRN-4711" not in text


# Files


@pytest.mark.parametrize("ending", [".json", ".html", ".png", ".PNG"])
def test_save_goes_by_the_ending(ending: str, tmp_path: Path) -> None:
    report = make_report()
    path = report.save(tmp_path / "new folder" / f"case{ending}")
    match ending:
        case ".json":
            assert json.loads(path.read_text("utf-8")) == forms.to_json(report)
        case ".html":
            assert path.read_text("utf-8") == html(report)
        case _:
            stored = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            assert (stored == overlay(report)).all()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["case.pdf", "case", "case.dcm", "case.tiff.dcm", "seg.dcm.zip"])
def test_save_refuses_other_endings(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"use one of \.json, \.html, \.png, \.seg\.dcm"):
        make_report().save(tmp_path / name)


def test_a_name_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    path = named("caf\udce9.png").save(tmp_path / "case.json")
    assert json.loads(path.read_text("utf-8"))["file"] == "caf\udce9.png"
    assert forms.row("caf\udce9.png", UNREADABLE, ())["file"] == r"caf\udce9.png"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "case.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ConfigError, match=r"case\.json: cannot be written: No space left on device"):
        make_report().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["case.json"]
    assert path.read_text() == "old"


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("wanted", "endings"),
    [
        (["csv"], []),
        (["json"], ["json"]),
        (["mask"], ["mask.png"]),
        (["png"], ["mask.png", "overlay.png"]),
        (["html"], ["html"]),
        (["sr", "seg"], ["sr.dcm", "seg.dcm"]),
        (FORMS, ["json", "mask.png", "overlay.png", "html", *OBJECTS]),
    ],
)
def test_write_makes_the_files_asked_for(wanted: list[str], endings: list[str], tmp_path: Path) -> None:
    write("ward/a/case.dcm", make_report(), tmp_path / "out", wanted)
    assert tree(tmp_path) == {f"out/ward/a/case.dcm.{ending}" for ending in endings}


def test_the_mask_is_the_anatomy_at_source_size(tmp_path: Path) -> None:
    report = make_report()
    write("case.dcm", report, tmp_path, ["mask"])
    stored = cv2.imread(str(tmp_path / "case.dcm.mask.png"), cv2.IMREAD_UNCHANGED)
    assert report.anatomy is not None
    assert stored is not None
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, report.anatomy.mask)


def test_write_of_a_rejected_film(tmp_path: Path) -> None:
    write("case.dcm", rejected(), tmp_path, FORMS)
    forms = ["json", "overlay.png", "html", *OBJECTS]
    assert tree(tmp_path) == {f"case.dcm.{form}" for form in forms if form != "seg.dcm"}


def test_of_a_film_that_is_no_dicom_file_no_object_is_written(tmp_path: Path) -> None:
    report = make_report()
    origin = Origin(path="case.png", sha256="0f" * 32, format="PNG")
    report = replace(report, radiograph=replace(report.radiograph, origin=origin))
    write("case.png", report, tmp_path, ["json", *dicom.FORMS])
    assert tree(tmp_path) == {"case.png.json"}
    with pytest.raises(ConfigError, match=r"case\.png: PNG, not DICOM"):
        report.save(tmp_path / "case.seg.dcm")


def test_a_rejected_film_that_was_outlined_keeps_its_mask(tmp_path: Path) -> None:
    write("case.dcm", rejected(anatomy=make_report().anatomy), tmp_path, ["png"])
    assert tree(tmp_path) == {"case.dcm.mask.png", "case.dcm.overlay.png"}


@pytest.mark.parametrize(
    ("error", "file", "fault"),
    [
        (UNREADABLE, "ward/bad.dcm", {"reason": "3 frames, expected 1", "remedy": "export a single frame"}),
        (DataError("nothing there"), "bad.dcm", {"reason": "nothing there"}),
    ],
)
def test_write_of_an_error(error: HilumError, file: str, fault: dict[str, str], tmp_path: Path) -> None:
    write("bad.dcm", error, tmp_path, FORMS)
    assert tree(tmp_path) == {"bad.dcm.json"}
    document = json.loads((tmp_path / "bad.dcm.json").read_text("utf-8"))
    assert (document["file"], document["status"], document["error"]) == (file, "error", fault)
    assert document["disclaimer"] == DISCLAIMER
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["created"])


@pytest.mark.parametrize("name", ["../case.dcm", "ward/../../case.dcm", "/etc/case.dcm", "", "."])
def test_write_never_leaves_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leads out of"):
        write(name, make_report(), tmp_path / "out", FORMS)
    assert tree(tmp_path) == set()


def test_nothing_of_an_earlier_film_of_that_name_stays(tmp_path: Path) -> None:
    report = make_report()
    forms = ("json", "png", "html", "mask")
    write("case.png", report, tmp_path, forms)
    assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / "case.png.csv").touch()
    write("case.png", ReadError("case.png", "truncated", "export it again"), tmp_path, forms)
    assert {path.name for path in tmp_path.iterdir()} == {"case.png.csv", "case.png.json"}


def test_write_refuses_unknown_forms(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown form pdf; choose from csv, json, mask, png, html"):
        write("case.dcm", make_report(), tmp_path, ["json", "pdf"])
    assert tree(tmp_path) == set()


def test_old_drafts_are_swept_and_one_that_vanishes_meanwhile_is_no_failure(tmp_path: Path) -> None:
    old, young, gone = (tmp_path / "sub" / f".{kind * 32}.tmp" for kind in "abc")
    old.parent.mkdir()
    for draft in (old, young):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    gone.symlink_to(tmp_path / "nowhere")  # listed, and not there when its time is read
    sweep(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_lift_and_trust_are_told() -> None:
    shown = replace(blob("Edema", 200, 120), lift=1.25, method="occlusion")
    metric = Metric(
        name="insertion over deletion, maps by occlusion", value=0.3, low=0.1, high=0.5, n=40, part="tuning"
    )
    report = make_report(heatmaps=(shown,))
    cards = {**report.cards, "classify": report.cards["classify"].model_copy(update={"metrics": (metric,)})}
    report = replace(report, cards=cards)
    assert forms.to_json(report)["heatmaps"][0] == {
        "label": "Edema",
        "method": "occlusion",
        "in_lungs": 0.5,
        "lift": 1.25,
    }
    words = " ".join(Page(html(report)).words.split())
    assert "around the chest 1.25 times what an even spread would put there" in words
    assert "by occlusion: how much the score drops when a place is blurred" in words
    assert "logits, scaled to the whole film; 50 % of it in lungs and heart" in words
    assert "above the threshold;" not in words
    assert "On 40 tuning maps, blurring a film's strongest places first" in words


def test_a_report_of_maps_that_tell_little_says_how_to_get_better_ones() -> None:
    def metric(method: str, value: float) -> Metric:
        name, low, high = f"insertion over deletion, maps by {method}", value - 0.2, value + 0.2
        return Metric(name=name, value=value, low=low, high=high, n=97, part="tuning")

    def words(*metrics: Metric) -> str:
        report = make_report(heatmaps=(blob("Edema", 200, 120),))
        card = report.cards["classify"].model_copy(update={"metrics": metrics})
        shown = html(replace(report, cards={**report.cards, "classify": card}))
        return " ".join(Page(shown).words.split())

    remedy = "hilum predict --explain occlusion"
    told = words(metric("evidence", 0.1), metric("occlusion", 1.5))
    assert "no better than chance, do not rely on them" in told
    assert remedy in told
    assert remedy not in words(metric("evidence", 0.1), metric("occlusion", 0.1))
    assert remedy not in words(metric("evidence", 0.1))


def test_each_map_is_trusted_as_its_own_model_was_measured() -> None:
    def card(name: str, value: float) -> Card:
        measured = Metric(
            name="insertion over deletion, maps by evidence",
            value=value,
            low=value - 0.1,
            high=value + 0.1,
            n=40,
            part="tuning",
        )
        return make_card("classify").model_copy(update={"name": name, "metrics": (measured,)})

    second = card("second", 0.7).model_copy(update={"labels": ("Edema",)})
    maps = (blob("Cardiomegaly", 200, 120), blob("Edema", 200, 120))

    def words(*shown: Heatmap) -> str:
        cards = {**make_report().cards, "classify": card("first", 0.3), "specialist": second}
        return " ".join(Page(html(replace(make_report(heatmaps=shown), cards=cards))).words.split())

    both = words(*maps)
    assert re.search(r"first: On 40 .* by 0\.30 .* second: On 40 .* by 0\.70", both)
    assert "by 0.30 logits" in words(maps[0]) and "by 0.70" not in words(maps[0])
    assert "by 0.70 logits" in words(maps[1]) and "by 0.30" not in words(maps[1])


def test_a_prediction_is_iterated_as_a_mapping_of_its_labels() -> None:
    prediction = make_report().prediction
    assert prediction is not None
    assert list(prediction) == list(prediction.labels)
    assert "Edema" in prediction and "pleural_effusion" in prediction
    assert "Fracture" not in prediction and 0 not in prediction
    assert [score.label for score in prediction.scores] == list(prediction.labels)
    assert prediction.scores[0] == prediction[prediction.labels[0]]


def test_thresholds_are_those_of_the_model_that_had_the_last_word() -> None:
    """And of a label that is called for being the most probable there is none."""
    second = make_card("classify").model_copy(
        update={
            "labels": ("Edema",),
            "thresholds": {"Edema": Threshold(value=0.6, low=0.55, high=0.65, rule="the second's")},
        }
    )
    report = make_report()
    both = replace(report, cards={**report.cards, "specialist": second})
    told = forms.to_json(both)["thresholds"]["labels"]
    assert told["Edema"]["rule"] == "the second's"
    assert told["Cardiomegaly"] == forms.to_json(report)["thresholds"]["labels"]["Cardiomegaly"]
    ranks = make_card("classify").model_copy(update={"activation": "softmax", "thresholds": {}})
    ranked = forms.to_json(replace(report, cards={"classify": ranks}))
    assert {score["threshold"] for score in ranked["prediction"].values()} == {None}
    assert ranked["thresholds"]["labels"] == {}


def test_a_score_bears_its_labels_own_name() -> None:
    prediction = make_report().prediction
    assert prediction is not None
    assert prediction["pleural_effusion"].label == prediction["Pleural Effusion"].label == "Pleural Effusion"
