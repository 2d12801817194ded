"""The whole way of a film through the shipped models."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hilum
from hilum.card import read_card
from hilum.data.phantom import draw
from hilum.data.wrong import KINDS, photographed
from hilum.errors import CheckpointError, ConfigError, ReadError
from hilum.labels import SIX
from hilum.pipeline import GATE, Pipeline
from hilum.reading.reader import read
from hilum.runtime import Runtime, find
from hilum.statistics.metrics import dice
from hilum.types import Array, Radiograph, Reason, Report

RG1 = ["RG1_UNCR", "RG1_UNCI", "RG1_J2KR", "RG1_J2KI"]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return hilum.load()


@pytest.fixture(scope="module")
def dicom() -> Path:
    """Folder of the films in the package pydicom-data."""
    found = importlib.util.find_spec("data_store")
    assert found is not None and found.origin is not None, "the tests need the package pydicom-data"
    return Path(found.origin).parent / "data"


@pytest.fixture(scope="module")
def report(pipeline: Pipeline, dicom: Path) -> Report:
    return pipeline(dicom / "RG1_UNCR.dcm")


def test_a_real_film_is_analysed_from_end_to_end(report: Report) -> None:
    assert report.status == "ok"
    assert report.prediction is not None and report.anatomy is not None and report.measurements is not None
    assert report.prediction.labels == SIX
    assert all(0 <= p <= 1 for p in report.prediction.probabilities)
    assert report.anatomy.mask.shape == report.radiograph.pixels.shape == (1955, 1841)
    right, left, heart = (np.argwhere(report.anatomy.mask == value).mean(axis=0) for value in (1, 2, 3))
    assert right[1] < heart[1] < left[1]  # the patient's right lung lies on the picture's left
    assert heart[0] > min(right[0], left[0])
    assert 0.3 < report.measurements.cardiothoracic_ratio < 0.6  # type: ignore[operator]
    assert min(report.anatomy.quality.values()) > 0.9


def test_evidence_is_the_logit_spread_over_the_film(pipeline: Pipeline, report: Report) -> None:
    from hilum.prepare import prepare

    classifier = pipeline.classifier
    assert classifier is not None and report.prediction is not None and report.anatomy is not None
    films = prepare(report.radiograph.pixels, classifier.card.preparation, report.anatomy.mask)[None]
    logits = dict(zip(classifier.card.labels, classifier(films)["logits"][0], strict=True))
    assert report.heatmaps
    for heatmap in report.heatmaps:
        assert heatmap.values.shape == report.radiograph.pixels.shape
        assert float(heatmap.values.mean()) == pytest.approx(float(logits[heatmap.label]), abs=1e-3)
        assert 0 <= heatmap.in_lungs <= 1


@pytest.mark.parametrize("name", RG1[1:])
def test_every_encoding_of_a_film_gives_the_same_answer(
    pipeline: Pipeline, report: Report, dicom: Path, name: str
) -> None:
    other = pipeline(dicom / f"{name}.dcm")
    assert other.prediction is not None and report.prediction is not None
    assert other.prediction.probabilities == pytest.approx(report.prediction.probabilities, abs=0.01)
    assert other.anatomy is not None and report.anatomy is not None
    for value in (1, 2, 3):
        assert dice(other.anatomy.mask == value, report.anatomy.mask == value) > 0.99


@pytest.mark.parametrize("name", ["RG3_UNCR", "MR2_UNCR"])
def test_what_is_no_chest_film_is_rejected_with_a_reason(pipeline: Pipeline, dicom: Path, name: str) -> None:
    result = pipeline(dicom / f"{name}.dcm")
    assert result.status == "rejected"
    assert result.reasons
    assert result.prediction is None and not result.heatmaps


WRONG = {
    "turned": lambda film: np.rot90(film),
    "upside-down": lambda film: film[::-1, ::-1],
    "inverted": lambda film: 1 - film,
    "cropped": lambda film: film[:900, :800],
    "exposure": lambda film: np.clip(film * 4, 0, 1),
    "blank": lambda film: 0.5 + 0.001 * film,
    "small": lambda film: film[::40, ::40],
    "photograph": lambda film: photographed(film[::6, ::6], np.random.default_rng(1)),
}


@pytest.mark.parametrize("code", WRONG)
def test_a_real_film_made_wrong_is_rejected_by_its_name(
    pipeline: Pipeline, report: Report, code: str
) -> None:
    result = pipeline(np.ascontiguousarray(WRONG[code](report.radiograph.pixels)))
    assert (result.status, [reason.code for reason in result.reasons]) == ("rejected", [code])
    assert result.prediction is None


def test_a_mirrored_film_is_judged_and_flagged(pipeline: Pipeline, report: Report) -> None:
    result = pipeline(np.ascontiguousarray(report.radiograph.pixels[:, ::-1]))
    assert (result.status, [flag.code for flag in result.flags]) == ("ok", ["mirrored"])
    assert report.flags == ()


def test_a_childs_film_is_judged_and_flagged(pipeline: Pipeline, report: Report) -> None:
    film = report.radiograph
    result = pipeline(replace(film, origin=replace(film.origin, age=9.0)))
    assert (result.status, [flag.code for flag in result.flags]) == ("ok", ["child"])


def test_odd_outlines_refuse_a_film_unless_the_network_is_sure_of_it(
    pipeline: Pipeline, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = (Reason(code="lungs", sentence="no right lung found"),)
    monkeypatch.setattr("hilum.pipeline.implausible", lambda _: odd)
    sure = pipeline(report.radiograph)
    assert (sure.status, sure.flags, sure.reasons) == ("ok", odd, ())
    alone = Pipeline(pipeline.segmenter, None)(report.radiograph)
    assert (alone.status, alone.reasons, alone.flags) == ("rejected", odd, ())


def test_real_films_of_every_source_are_admitted(pipeline: Pipeline, films: Path) -> None:
    for folder in ("nih14", "jsrt", "shenzhen"):
        paths = sorted((films / folder / "images").iterdir())[:40:5]
        statuses = [result.status for result in pipeline.stream(paths) if isinstance(result, Report)]
        assert statuses == ["ok"] * len(paths), folder


def test_the_shipped_gate_is_small_and_knows_what_the_gate_says() -> None:
    gate = Runtime(find(GATE))
    assert gate.card.labels == KINDS and gate.card.activation == "softmax"
    assert sum(path.stat().st_size for path in find(GATE).iterdir()) < 3e6
    assert gate.card.split_sha256 and gate.card.sources


def test_a_batch_with_one_wrong_film_goes_on(pipeline: Pipeline) -> None:
    films = [draw(seed).pixels for seed in range(4)]
    films[2] = 255 - films[2]
    results = list(pipeline.stream(films))
    assert [r.status for r in results if isinstance(r, Report)] == ["ok", "ok", "rejected", "ok"]


def test_a_batch_says_what_each_film_says_alone(pipeline: Pipeline) -> None:
    films = [draw(seed, size=200 + 40 * seed).pixels for seed in range(6)]
    together = list(pipeline.stream(films))
    for film, result in zip(films, together, strict=True):
        assert isinstance(result, Report)
        alone = pipeline(film)
        assert alone.status == result.status
        assert np.array_equal(alone.anatomy.mask, result.anatomy.mask)  # type: ignore[union-attr]
        if alone.prediction:
            assert result.prediction is not None
            assert result.prediction.probabilities == pytest.approx(alone.prediction.probabilities, abs=1e-5)


def test_stream_keeps_order_passes_errors_on_and_reads_no_further_than_it_must(pipeline: Pipeline) -> None:
    asked: list[int] = []

    def sources() -> Iterator[bytes | np.ndarray]:
        for i in range(100):
            asked.append(i)
            yield b"not a film" if i % 3 == 1 else draw(i).pixels

    stream = pipeline.stream(sources())
    first = [next(stream) for _ in range(6)]
    assert [isinstance(result, ReadError) for result in first] == [i % 3 == 1 for i in range(6)]
    assert len(asked) <= 20
    stream.close()


def test_brightness_and_contrast_do_not_change_the_answer(pipeline: Pipeline, report: Report) -> None:
    dimmed = pipeline(0.3 + 0.5 * report.radiograph.pixels)
    assert dimmed.prediction is not None and report.prediction is not None
    assert dimmed.prediction.probabilities == pytest.approx(report.prediction.probabilities, abs=1e-3)


def test_models_are_not_put_in_each_others_place() -> None:
    with pytest.raises(CheckpointError, match="made to segment, not to classify"):
        Pipeline(Runtime(find("hilum-lungs")), Runtime(find("hilum-lungs")))


@pytest.mark.parametrize("load", [partial(hilum.load, GATE), partial(hilum.load, specialist=GATE)])
def test_a_gate_is_no_classifier(load: Callable[[], Pipeline]) -> None:
    with pytest.raises(CheckpointError, match="hilum-gate: an input gate, not a classifier; leave it out"):
        load()


def test_an_own_model_takes_the_place_of_the_one_with_its_task() -> None:
    pipeline = hilum.load(find("hilum-six"))
    assert pipeline.segmenter.card.name == "hilum-lungs"
    assert pipeline.labels == SIX


def test_the_shipped_models_outline_real_films_they_never_saw(pipeline: Pipeline, films: Path) -> None:
    """The two DICOM films are of neither mask data set; both lungs and a heart must be found in place."""
    for path in sorted((films / "dicom").glob("*.dcm")):
        result = pipeline(path)
        assert result.status == "ok", (path.name, result.reasons)
        assert result.anatomy is not None
        assert set(np.unique(result.anatomy.mask)) == {0, 1, 2, 3}


def test_a_film_that_breaks_the_analysis_does_not_stop_the_others(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hilum.pipeline

    segment = hilum.pipeline.segment

    def fragile(runtime: Runtime, film: Array) -> object:
        if film.shape == (300, 300):
            raise RuntimeError("planted")
        return segment(runtime, film)

    monkeypatch.setattr(hilum.pipeline, "segment", fragile)
    films = [draw(seed, size=300 if seed == 1 else 256).pixels for seed in range(5)]
    results = list(pipeline.stream(films))
    assert [isinstance(result, ReadError) for result in results] == [False, True, False, False, False]
    assert "could not be analysed (RuntimeError)" in str(results[1])
    assert "planted" not in str(results[1])  # a message may quote the header


def test_a_segmenter_is_read_by_its_labels_and_not_their_order(pipeline: Pipeline) -> None:
    from hilum.outline import in_order

    logits = np.stack([np.full((2, 2), value) for value in (3, 2, 1)])
    ordered = in_order(logits, ("heart", "left_lung", "right_lung"))
    assert ordered[:, 0, 0].tolist() == [1, 2, 3]
    card = pipeline.segmenter.card
    stranger = Runtime(find("hilum-lungs"))
    stranger.card = card.model_copy(update={"labels": ("heart", "left_lung", "trachea")})
    with pytest.raises(CheckpointError, match="does not outline right_lung"):
        Pipeline(stranger, None)


def test_a_report_shown_in_a_notebook_shows_no_patient(report: Report) -> None:
    shown = repr(report)
    assert len(shown) < 4000
    assert str(report.radiograph.origin.header.PatientName) not in shown
    assert "Patient" not in shown


def test_results_of_other_models_and_settings_are_told_apart() -> None:
    points = list(read_card(find("hilum-six")).points)
    ways: list[dict[str, Any]] = [
        {},
        {"thresholds": {"Edema": 0.5}},
        {"point": points[-1]},
        {"explain": "none"},
        {"specialist": "hilum-six"},
    ]
    made_of = [hilum.load(threads=1, **way).made_of for way in ways]
    assert len(set(made_of)) == len(ways)
    assert hilum.load(threads=2).made_of == made_of[0]


def test_a_way_to_explain_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="explain='Evidence': choose from evidence, occlusion, none"):
        hilum.load(explain="Evidence")  # type: ignore[arg-type]


def test_one_film_that_fails_in_a_way_of_its_own_stops_no_other(pipeline: Pipeline) -> None:
    def broken() -> Radiograph:
        raise MemoryError

    first, second = pipeline.stream([broken, partial(read, draw(3, size=256).pixels)])
    assert isinstance(first, ReadError) and "could not be opened (MemoryError)" in str(first)
    assert isinstance(second, Report)
