"""One classifier, and two in a row: the specialist speaks where the general one hesitates, and only there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

import hilum
from hilum.card import Card, Preparation, Threshold
from hilum.classify import Judgement, classify, explained, hesitates
from hilum.data.phantom import draw
from hilum.errors import CheckpointError
from hilum.pipeline import Pipeline
from hilum.reading.reader import read
from hilum.runtime import Runtime, find
from hilum.types import Anatomy, Array, Explain, Radiograph

SIZE = 32


@dataclass
class Stub:
    """In the place of a loaded classifier: says the logits it was given, film after film."""

    labels: Sequence[str]
    logits: Sequence[Sequence[float]]
    maps: bool = True
    open: tuple[float, float] = (0.4, 0.6)  # a probability in here is left open
    batches: list[int] = field(default_factory=list)

    @property
    def card(self) -> Card:
        rule = Threshold(value=0.5, low=self.open[0], high=self.open[1], rule="")
        about = {"name": "stub", "version": "1", "task": "classify", "architecture": "none"}
        more = {"labels": self.labels, "thresholds": dict.fromkeys(self.labels, rule)}
        return Card.model_validate(about | more | {"preparation": Preparation(size=SIZE)})

    def __call__(self, films: Array) -> dict[str, Array]:
        start = sum(self.batches)
        self.batches.append(len(films))
        logits = np.array(self.logits[start : start + len(films)], np.float32)
        maps = {"evidence": logits[..., None, None].repeat(2, 2).repeat(2, 3)} if self.maps else {}
        return {"logits": logits} | maps


def film() -> Radiograph:
    return read(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))


NOTHING = Anatomy(mask=np.zeros((64, 64), np.uint8), quality={})


def judge(general: Stub, specialist: Stub | None = None, explain: Explain = "evidence") -> Judgement:
    return classify(general, specialist, film(), NOTHING, explain=explain)  # type: ignore[arg-type]


def test_a_film_gets_its_probabilities_and_maps() -> None:
    general = Stub(["Edema", "Mass"], [[1, -1]])
    found = judge(general)
    assert general.batches == [1]
    assert found.prediction["Edema"].probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert float(found.evidence["Mass"].map.mean()) == -1
    assert found.prediction.stage == "general"


def test_a_specialist_speaks_of_its_labels_where_one_of_them_was_left_open() -> None:
    general = Stub(["Edema", "Mass", "Nodule"], [[3, 3, 3], [3, 0.1, -3], [0.1, 3, 3], [-3, -3, 0.1]])
    # Edema left open is none of its business.
    specialist = Stub(["Nodule", "Mass"], [[2, -2], [-2, 4]])
    found = [judge(general, specialist) for _ in range(4)]
    assert [one.prediction.stage for one in found] == ["general", "specialist", "general", "specialist"]
    assert specialist.batches == [1, 1]
    second, fourth = found[1].prediction, found[3].prediction
    assert second["Edema"].probability == pytest.approx(1 / (1 + np.exp(-3)))
    assert second["Nodule"].probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert (second["Nodule"].positive, second["Mass"].positive, second["Mass"].abstained) == (
        True,
        False,
        False,
    )
    assert fourth["Mass"].probability == pytest.approx(1 / (1 + np.exp(-4)))
    assert {label: float(one.map.mean()) for label, one in found[1].evidence.items()} == {
        "Edema": 3,
        "Mass": -2,
        "Nodule": 2,
    }


def test_of_a_specialist_s_labels_its_own_map_is_shown_by_whatever_method() -> None:
    specialist = Stub(["Edema"], [[3]] * 300, maps=False)
    found = judge(Stub(["Edema", "Mass"], [[0.1, 2]]), specialist)
    methods = {label: one.method for label, one in found.evidence.items()}
    assert methods == {"Edema": "occlusion", "Mass": "evidence"}


def test_a_specialist_is_not_run_where_nothing_is_left_open() -> None:
    specialist = Stub(["Edema"], [])
    found = judge(Stub(["Edema"], [[5]]), specialist)
    assert not hesitates(found.prediction, ["Edema"])
    assert specialist.batches == []


def test_worth_a_map_are_the_positive_labels_or_the_most_probable() -> None:
    general = Stub(["Edema", "Mass", "Nodule"], [[3, -3, 2], [-3, -1, -2]])
    one, other = judge(general), judge(general)
    assert explained(one.prediction) == ["Edema", "Nodule"]
    assert explained(other.prediction) == ["Mass"]


def test_a_pipeline_asks_its_specialist_and_names_it() -> None:
    film = draw(3).pixels
    alone = hilum.load()(film)
    assert alone.prediction is not None and alone.anatomy is not None
    labels = alone.prediction.labels
    unsure = Stub(labels, [[0.0] * 6])
    segmenter = Runtime(find("hilum-lungs"))
    pipeline = Pipeline(segmenter, unsure, Stub(labels[:2], [[2, -2]]))  # type: ignore[arg-type]
    report = pipeline(film)
    assert report.prediction is not None and report.prediction.stage == "specialist"
    assert report.cards.keys() == {"segment", "classify", "specialist"}
    assert report.prediction.positive == (True, False, True, True, True, False)  # 0.5 is at the threshold
    assert [one.label for one in report.heatmaps] == [labels[0], *labels[2:5]]
    assert float(report.heatmaps[0].values.mean()) == pytest.approx(2, abs=1e-3)
    assert alone.cards.keys() == {"gate", "segment", "classify"}


def test_a_specialist_must_score_what_the_classifier_scores() -> None:
    segmenter = Runtime(find("hilum-lungs"))
    with pytest.raises(CheckpointError, match="stub: scores Mass, which the classifier does not"):
        Pipeline(segmenter, Stub(["Edema"], []), Stub(["Mass"], []))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="made to segment, not to classify"):
        Pipeline(segmenter, Stub(["Edema"], []), segmenter)  # type: ignore[arg-type]


@dataclass
class Looking(Stub):
    """A model without evidence, whose logits are the brightness of a quarter of the film and its opposite."""

    def __call__(self, films: Array) -> dict[str, Array]:
        self.batches.append(len(films))
        corner = films[:, 0, : SIZE // 2, : SIZE // 2].mean(axis=(1, 2))
        return {"logits": np.stack([corner, -corner], axis=1).astype(np.float32)}


def bright() -> Radiograph:
    """A film whose upper left corner holds a bright spot."""
    grey = np.random.default_rng(0).integers(0, 60, (64, 64)).astype(np.uint8)
    grey[12:20, 12:20] = 255
    return read(grey)


def test_a_model_without_evidence_is_asked_what_hiding_a_place_costs() -> None:
    general = Looking(["Edema", "Mass"], [])
    found = classify(general, None, bright(), NOTHING)  # type: ignore[arg-type]
    assert {label: one.method for label, one in found.evidence.items()} == {
        "Edema": "occlusion",
        "Mass": "occlusion",
    }
    shown = found.evidence["Edema"]
    row, column = np.unravel_index(shown.map.argmax(), shown.map.shape)
    assert 3 <= row <= 4 and 3 <= column <= 4
    np.testing.assert_allclose(found.evidence["Mass"].map, -shown.map, atol=1e-4)


def test_where_no_map_is_wanted_none_is_paid_for() -> None:
    general = Looking(["Edema", "Mass"], [])
    found = judge(general, explain="none")
    assert general.batches == [1]
    assert not found.evidence


def test_an_ensemble_of_unlike_grids_has_maps_in_its_report() -> None:
    film = draw(5, size=256).pixels
    labels = ("Edema", "Mass")
    segmenter = Runtime(find("hilum-lungs"))
    report = Pipeline(segmenter, Looking(labels, []))(film)  # type: ignore[arg-type]
    assert report.heatmaps
    assert {one.method for one in report.heatmaps} == {"occlusion"}
    assert {one.label for one in report.heatmaps} <= set(labels)
    for one in report.heatmaps:
        assert one.values.shape == film.shape
        assert one.lift >= 0 or np.isnan(one.lift)
    quick = Pipeline(segmenter, Looking(labels, []), explain="none")(film)  # type: ignore[arg-type]
    assert not quick.heatmaps
    assert quick.prediction == report.prediction
