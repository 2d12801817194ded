"""What a notebook shows of a report and its parts: pictures that match, scores, and nothing that runs."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset

from hilum.card import Card, Preparation
from hilum.reporting.overlay import overlay
from hilum.types import DISCLAIMER, Array, Heatmap, Origin, Prediction, Radiograph, Reason, Report

HOSTILE = "ward/<script>alert('x')</script><img src=x onerror=alert(1)>\udce9.png"
PREDICTION = Prediction(
    labels=("Edema", "Cardiomegaly", "Consolidation"),
    probabilities=(0.625, 0.125, 0.375),
    thresholds=(0.25, 0.375, 0.4375),
    positive=(True, False, False),
    abstained=(False, False, True),
)


def make_radiograph(path: str = "case.dcm") -> Radiograph:
    header = Dataset()
    header.PatientName, header.PatientID = "DOE^JANE", "MRN-4711"
    pixels = np.linspace(0, 1, 600 * 512, dtype=np.float32).reshape(600, 512)
    return Radiograph(
        pixels=pixels,
        spacing=(0.5, 0.25),
        view="AP",
        origin=Origin(path=path, sha256="0f" * 32, format="DICOM", header=header),
        notes=("window taken from the header",),
    )


def make_card(**changes: Any) -> Card:
    card = Card(
        name="six",
        version="1",
        task="classify",
        labels=PREDICTION.labels,
        architecture="cnn",
        preparation=Preparation(size=256),
    )
    return card.model_copy(update=changes)


def make_report(**changes: Any) -> Report:
    values = np.full((600, 512), -1, np.float32)
    values[100:200, 300:400] = 4
    report = Report(
        status="ok",
        radiograph=make_radiograph(),
        anatomy=None,
        measurements=None,
        prediction=PREDICTION,
        heatmaps=(Heatmap(cells=values, shape=values.shape, label="Edema", method="evidence", in_lungs=0.5),),
        cards={"classify": make_card()},
        created="2026-01-05T10:11:12Z",
    )
    return replace(report, **changes)


def rejected() -> Report:
    reason = Reason(code="turned", sentence="turned by 90 degrees; turn it upright")
    return make_report(status="rejected", reasons=(reason,), prediction=None, heatmaps=())


def shown(html: str) -> Array:
    (data,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', html)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def table(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in rows]


def test_a_report_shows_its_overlay_and_its_scores() -> None:
    report = make_report(flags=(Reason(code="child", sentence="a child of 9 years"),))
    html = report._repr_html_()
    expected = overlay(report, longest=768).astype(int)
    picture = shown(html)
    assert picture.shape == expected.shape
    assert np.abs(picture - expected).mean() < 3  # JPEG
    assert table(html) == [
        ["label", "probability", "threshold", "call"],
        ["Edema", "0.62", "0.25", "positive"],
        ["Cardiomegaly", "0.12", "0.38", "negative"],
        ["Consolidation", "0.38", "0.44", "left open"],
    ]
    assert "Above its threshold: Edema" in html and "a child of 9 years" in html and DISCLAIMER in html


def test_a_rejected_film_shows_why_and_no_scores() -> None:
    html = rejected()._repr_html_()
    assert "Rejected." in html and "Turned by 90 degrees; turn it upright." in html
    assert table(html) == []
    assert shown(html).shape[0] >= 600


def test_a_model_that_calls_the_most_probable_label_has_no_thresholds_to_show() -> None:
    html = make_report(cards={"classify": make_card(activation="softmax")})._repr_html_()
    assert [row[2] for row in table(html)] == ["threshold", "", "", ""]
    assert table(PREDICTION._repr_html_())[1] == ["Edema", "0.62", "0.25", "positive"]


def test_a_radiograph_shows_its_pixels_and_no_patient() -> None:
    html = make_radiograph()._repr_html_()
    assert np.abs(shown(html)[..., 0] - make_radiograph().pixels * 255).mean() < 3
    for words in ("600 x 512 pixels", "0.500 x 0.250 mm", "view AP", "window taken from the header"):
        assert words in html
    assert "DOE" not in html and "MRN" not in html
    assert "DOE" not in make_report()._repr_html_()


@pytest.mark.parametrize("in_lungs", [0.5, float("nan")])
def test_a_heatmap_shows_where_the_evidence_lies(in_lungs: float) -> None:
    html = replace(make_report().heatmaps[0], in_lungs=in_lungs)._repr_html_()
    red, green, _ = shown(html).astype(int).transpose(2, 0, 1)
    assert (red - green)[120:180, 320:380].min() > 60
    assert np.abs(red - green)[300:, :].max() < 10
    assert "Evidence for Edema" in html and "4.0 logits" in html
    assert ("50 % of it in lungs and heart" in html) == (in_lungs == 0.5)


def test_what_is_shown_is_inert_and_can_be_saved() -> None:
    bad = make_radiograph(HOSTILE)
    everything = make_report(radiograph=bad, flags=(Reason(code="x", sentence="<script>1</script>"),))
    for one in (everything, bad):
        html = one._repr_html_()
        assert "<script" not in html and "<img src=x" not in html
        assert "&lt;script&gt;" in html
        assert not re.search(r'(src|href)="(?!data:image/jpeg)', html)
        html.encode("utf-8")
