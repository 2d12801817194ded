"""Phantoms: what they promise about anatomy, labels and the place of each finding."""

from __future__ import annotations

import csv
import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import open_data, phantom
from hilum.data.phantom import VISIBLE, Phantom, draw
from hilum.errors import DataError
from hilum.labels import FINDINGS, SIX
from hilum.types import STRUCTURES, Array

SEEDS = range(150)


@pytest.fixture(scope="module")
def films() -> list[Phantom]:
    return [draw(seed) for seed in SEEDS]


def digest(film: Phantom) -> str:
    return hashlib.sha256(
        film.pixels.tobytes() + film.mask.tobytes() + film.finding_mask.tobytes()
    ).hexdigest()


def auroc(positive: list[float], negative: list[float]) -> float:
    """Chance that a positive outranks a negative, ties counting half."""
    difference = np.subtract.outer(positive, negative)
    return float(np.mean(difference > 0) + 0.5 * np.mean(difference == 0))


def cardiothoracic(mask: Array) -> float:
    heart, lungs = np.nonzero((mask == 3).any(axis=0))[0], np.nonzero(np.isin(mask, (1, 2)).any(axis=0))[0]
    return float((np.ptp(heart) + 1) / (np.ptp(lungs) + 1))


def height(mask: Array) -> Array:
    """Each pixel's row, 0 at the lungs' top and 1 at their bottom."""
    rows = np.nonzero(np.isin(mask, (1, 2)).any(axis=1))[0]
    return np.broadcast_to(((np.arange(len(mask)) - rows[0]) / np.ptp(rows))[:, None], mask.shape)


def test_the_seed_decides_every_byte(films: list[Phantom]) -> None:
    assert [digest(draw(seed)) for seed in range(5)] == [digest(film) for film in films[:5]]
    assert len({digest(film) for film in films}) == len(films)


@pytest.mark.parametrize("size", [128, 256, 320])
def test_shapes_and_types(size: int) -> None:
    film = draw(3, size=size)
    assert film.pixels.shape == film.mask.shape == film.finding_mask.shape == (size, size)
    assert (film.pixels.dtype, film.mask.dtype, film.finding_mask.dtype) == (np.uint8, np.uint8, np.bool_)


def test_each_structure_is_one_piece_on_its_own_side(films: list[Phantom]) -> None:
    for film in films:
        centres = {}
        for value, share in ((1, 0.06), (2, 0.04), (3, 0.05)):
            count, _, stats, where = cv2.connectedComponentsWithStats((film.mask == value).astype(np.uint8))
            assert count == 2
            assert stats[1, cv2.CC_STAT_AREA] > share * film.mask.size
            centres[value] = where[1]
        assert centres[1][0] < centres[3][0] < centres[2][0]  # the patient's right lies on the image's left
        assert centres[3][1] > max(centres[1][1], centres[2][1])
        assert set(np.unique(film.mask)) == {0, 1, 2, 3}


def test_lungs_are_darker_than_heart_and_air_outside_is_dark(films: list[Phantom]) -> None:
    for film in films:
        if film.labels["No Finding"]:
            grey = [np.median(film.pixels[film.mask == value]) for value in (1, 2, 3)]
            assert max(grey[:2]) < grey[2] - 20


def test_labels_are_all_six_and_consistent(films: list[Phantom]) -> None:
    for film in films:
        assert tuple(film.labels) == SIX
        found = [label for label in FINDINGS if film.labels[label]]
        assert len(found) <= 2
        assert film.labels["No Finding"] == float(not found)
        assert film.finding_mask.any() == bool(found)
    assert 0.3 < np.mean([film.labels["No Finding"] for film in films]) < 0.5
    assert all(0.06 < np.mean([film.labels[label] for film in films]) < 0.3 for label in FINDINGS)
    assert {film.view for film in films} == {"PA", "AP"}
    assert {film.sex for film in films} == {"F", "M"}
    assert all(18 <= film.age <= 90 for film in films)


def test_the_heart_is_wide_exactly_when_labelled(films: list[Phantom]) -> None:
    for film in films:
        ratio = cardiothoracic(film.mask)
        assert ratio > 0.55 if film.labels["Cardiomegaly"] else 0.35 < ratio < 0.5


def test_a_wide_heart_takes_room_from_the_left_lung() -> None:
    for seed in range(20):
        normal, wide = draw(seed, findings=[]), draw(seed, findings=["Cardiomegaly"])
        assert np.sum(wide.mask == 2) < 0.95 * np.sum(normal.mask == 2)


@pytest.mark.parametrize("label", FINDINGS)
def test_a_finding_changes_its_place_and_nothing_else(label: str) -> None:
    contrast: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(60):
        normal, ill = draw(seed, findings=[]), draw(seed, findings=[label])
        assert (normal.sex, normal.age, normal.view) == (ill.sex, ill.age, ill.view)
        change, seen = cv2.absdiff(ill.pixels, normal.pixels), ill.finding_mask
        assert seen.mean() > 0.002
        assert change[~seen].max() < VISIBLE <= change[seen].min()
        assert not normal.finding_mask.any()
        around = np.isin(normal.mask, (1, 2)) & ~seen
        for present, film in ((True, ill), (False, normal)):
            contrast[present].append(float(film.pixels[seen].mean()) - float(film.pixels[around].mean()))
    assert auroc(contrast[True], contrast[False]) > 0.85


@pytest.mark.parametrize("label", FINDINGS)
def test_a_finding_lies_where_anatomy_puts_it(label: str) -> None:
    for seed in range(40):
        normal, ill = draw(seed, findings=[]), draw(seed, findings=[label])
        seen, v = ill.finding_mask, height(normal.mask)
        near = cv2.dilate((normal.mask > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        assert np.mean(near[seen]) > 0.97  # a raised diaphragm takes the gastric bubble along
        if label in ("Atelectasis", "Pleural Effusion"):
            assert np.percentile(v[seen], 10) > 0.45
        if label == "Atelectasis":
            assert np.sum(np.isin(ill.mask, (1, 2))) < np.sum(np.isin(normal.mask, (1, 2)))
        elif label != "Cardiomegaly":
            np.testing.assert_array_equal(ill.mask, normal.mask)  # fluid keeps the anatomical lung field
        if label == "Edema":
            assert all(np.sum(seen & (normal.mask == side)) > 500 for side in (1, 2))


def test_effusion_blunts_the_costophrenic_angle_of_its_side() -> None:
    for seed in range(30):
        film = draw(seed, findings=["Pleural Effusion"])
        blunted = []
        for side in (1, 2):
            rows, columns = np.nonzero(film.mask == side)
            angle = rows > rows.max() - 8
            blunted.append(film.finding_mask[rows[angle], columns[angle]].mean() > 0.5)
        assert any(blunted)


def test_mean_grey_does_not_give_the_label_away(films: list[Phantom]) -> None:
    mean = [float(film.pixels.mean()) for film in films]
    for label in SIX:
        positive = [grey for grey, film in zip(mean, films, strict=True) if film.labels[label]]
        negative = [grey for grey, film in zip(mean, films, strict=True) if not film.labels[label]]
        score = auroc(positive, negative)
        assert max(score, 1 - score) < 0.75, label


def test_two_findings_add_up() -> None:
    pair = draw(5, findings=["Pleural Effusion", "Cardiomegaly"])
    same = draw(5, findings=["Cardiomegaly", "Pleural Effusion", "Cardiomegaly"])
    assert digest(pair) == digest(same)
    assert [label for label in SIX if pair.labels[label]] == ["Cardiomegaly", "Pleural Effusion"]
    np.testing.assert_array_equal(pair.mask, draw(5, findings=["Cardiomegaly"]).mask)


def test_unknown_findings_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="'Pneumonia'; name some of Atelectasis"):
        draw(0, findings=["Pneumonia"])
    with pytest.raises(DataError, match="'No Finding'"):
        draw(0, findings=["No Finding"])


def test_samples_tell_what_drawing_shows() -> None:
    for index, sample in enumerate(phantom.samples("6@7")):
        assert sample.id == f"phantom-7-{index:05d}"
        assert callable(sample.image)
        assert callable(sample.masks)
        first = int(sample.patient.rsplit("-", 1)[1])
        film = draw(7_000_000 + index, patient=7_000_000 + first)
        np.testing.assert_array_equal(sample.image(), film.pixels)
        np.testing.assert_array_equal(sample.masks(), film.mask)
        assert sample.labels == film.labels
        assert (sample.sex, sample.age, sample.view) == (film.sex, film.age, film.view)
        assert sample.structures == frozenset(STRUCTURES)
        assert sample.site == "phantom"


def test_samples_do_not_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Phantom:
        raise AssertionError("drew a film")

    monkeypatch.setattr(phantom, "draw", refuse)
    assert len(open_data("phantom:300")) == 300


def test_patients_have_one_to_three_films_and_one_body() -> None:
    samples = phantom.samples("200")
    shorter = [(sample.id, sample.patient, sample.labels) for sample in phantom.samples("50")]
    assert [(sample.id, sample.patient, sample.labels) for sample in samples[:50]] == shorter
    films: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        films.setdefault(sample.patient, []).append(index)
    counts = [len(indices) for indices in films.values()]
    assert set(counts) == {1, 2, 3}
    for indices in films.values():
        assert indices == list(range(indices[0], indices[-1] + 1))
        assert len({(samples[i].sex, samples[i].age) for i in indices}) == 1
    assert not {s.patient for s in samples} & {s.patient for s in phantom.samples("200@1")}


def test_a_sample_draws_in_another_process() -> None:
    sample = phantom.samples("1")[0]
    assert callable(sample.image)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(sample.image).result(), sample.image())


@pytest.mark.parametrize("spec", ["", "many", "-3", "3.5", "3@", "3@x", "@7", "3@7@9", "0", "1000001"])
def test_malformed_specs_tell_the_remedy(spec: str) -> None:
    with pytest.raises(DataError, match=r"phantom.*; (write phantom:COUNT|give a number from 1)"):
        phantom.samples(spec)


def test_written_folders_read_back(tmp_path: Path) -> None:
    ticks: list[int] = []
    phantom.write(tmp_path, count=6, seed=2, tick=lambda *_: ticks.append(1))
    assert len(ticks) == 6
    drawn = phantom.samples("6@2")
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as text:
        assert next(csv.reader(text)) == ["path", "patient", "sex", "age", "view", *SIX]
    for sample, row, pair in zip(
        drawn, open_data(f"csv:{tmp_path / 'labels.csv'}"), open_data(f"masks:{tmp_path}"), strict=True
    ):
        assert callable(sample.image)
        assert callable(sample.masks)
        assert row.labels == sample.labels
        assert row.patient.endswith(sample.patient)
        assert (row.sex, row.age, row.view) == (sample.sex, sample.age, sample.view)
        assert pair.structures == sample.structures
        np.testing.assert_array_equal(cv2.imread(str(row.image), cv2.IMREAD_UNCHANGED), sample.image())
        np.testing.assert_array_equal(cv2.imread(str(pair.masks), cv2.IMREAD_UNCHANGED), sample.masks())


def test_boxes_hold_what_each_finding_changed() -> None:
    sample = next(one for one in phantom.samples("40@3") if one.labels["Consolidation"] == 1)
    assert callable(sample.boxes)
    boxes = sample.boxes()
    assert set(boxes) == {label for label in FINDINGS if sample.labels[label] == 1}
    number = 3 * phantom.MOST + int(sample.id[-5:])
    patient = 3 * phantom.MOST + int(sample.patient[-5:])
    changed = draw(number, findings=["Consolidation"], patient=patient).finding_mask
    inside = np.zeros_like(changed)
    for x, y, w, h in np.multiply(boxes["Consolidation"], 256).round().astype(int):
        inside[y : y + h, x : x + w] = True
        assert changed[y : y + h, x : x + w].any(axis=0).all()  # and are no wider than it
    assert (changed & inside).sum() > 0.8 * changed.sum()
    normal = next(one for one in phantom.samples("40@3") if one.labels["No Finding"] == 1)
    assert callable(normal.boxes) and normal.boxes() == {}
