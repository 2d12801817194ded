"""A site's own films set a model's probabilities right, without torch and without another network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.adapting import recalibrate as module
from hilum.adapting.corrections import Fit
from hilum.adapting.recalibrate import recalibrate
from hilum.calibration.calibrate import probabilities
from hilum.calibration.decide import margins, moved
from hilum.card import Calibration, Card, copied, read_card
from hilum.data import open_data
from hilum.data.cache import Cache
from hilum.data.split import read_split, select
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import films_for, logits_of
from hilum.runtime import Runtime, find
from hilum.statistics import scores
from hilum.statistics.metrics import auroc
from hilum.types import Array, Sample

ROOT = Path(__file__).parents[2]
SIX = find("hilum-six")
CARD = read_card(SIX)


def calibrated(logits: Array, card: Card = CARD) -> Array:
    """Log-odds as the card's calibration makes them."""
    said = probabilities(logits, card)
    return np.asarray(np.log(said) - np.log1p(-said))


def site(seed: int, films: int, slope: float, shift: float) -> tuple[Array, Array]:
    """Logits of films at a site, and what is true of them: rarer or commoner, more or less sure than said."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (films, len(CARD.labels)))
    odds = slope * calibrated(logits) + shift
    return logits, (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)


def run(
    monkeypatch: pytest.MonkeyPatch, out: Path, logits: Array, truth: Array, **more: object
) -> tuple[Card, dict[str, Fit]]:
    samples = tuple(
        Sample(
            id=str(i),
            patient=f"p{i // 2}",
            image=Path("unread"),
            labels=dict(zip(CARD.labels, row.tolist(), strict=True)),
        )
        for i, row in enumerate(truth)
    )
    cache = Cache(samples=samples, films=np.zeros((len(truth), 8, 8), np.uint8), masks=None, failures={})
    monkeypatch.setattr(module, "logits_of", lambda *_: logits)
    card, fits = recalibrate(SIX, cache, out, data="csv:ours", **more)  # type: ignore[arg-type]
    return card, {fit.label: fit for fit in fits}


def test_what_is_said_becomes_what_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card, fits = run(monkeypatch, tmp_path / "site", *site(0, 4000, slope=0.6, shift=0.8))
    logits, truth = site(1, 4000, slope=0.6, shift=0.8)
    before, after = (probabilities(logits, one) for one in (CARD, card))
    gap = [np.abs(said.mean(axis=0) - truth.mean(axis=0)) for said in (before, after)]
    assert (gap[0] > 0.05).any()
    assert (gap[1] < 0.02).all()
    # The order of the films stays.
    for i in range(len(CARD.labels)):
        np.testing.assert_array_equal(np.argsort(before[:, i]), np.argsort(after[:, i]))
    assert {fit.method for fit in fits.values()} == {"Platt"}
    assert {one.films for one in card.calibration.values()} == {"4000 films of 2000 patients, csv:ours"}
    assert all(one.films.endswith("csv:ours") for one in card.thresholds.values())
    assert card.version.startswith(f"{CARD.version.partition('+')[0]}+") and card.version != CARD.version
    # The folder is a checkpoint like any other, with the same graph.
    runtime = Runtime(find(tmp_path / "site"))
    assert runtime.card == card
    assert runtime.card.sha256 == CARD.sha256


def test_the_simplest_correction_that_holds_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card, fits = run(monkeypatch, tmp_path / "same", *site(2, 4000, slope=1.0, shift=0.0))
    assert [fit.method for fit in fits.values()].count("unchanged") >= 5
    for fit in fits.values():
        if fit.method == "unchanged":
            assert card.calibration[fit.label] == CARD.calibration[fit.label]
    _, fits = run(monkeypatch, tmp_path / "shifted", *site(3, 4000, slope=1.0, shift=1.5))
    assert [fit.method for fit in fits.values()].count("intercept") >= 5
    assert all(fit.losses["unchanged"] - fit.losses[fit.method] > 0.01 for fit in fits.values())


def test_few_films_move_the_intercept_at_most_and_leave_thresholds_at_their_logit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logits, truth = site(4, 60, slope=0.3, shift=0.5)
    truth[:, 0] = 0.0
    truth[:20:2, 0] = 1.0
    truth[:, 1] = np.nan
    truth[:, 2] = 0.0
    card, fits = run(monkeypatch, tmp_path / "few", logits, truth)
    ten, unknown, none = (fits[label] for label in CARD.labels[:3])
    assert set(ten.losses) == {"unchanged", "intercept"}
    assert ten.calibration.slope == CARD.calibration[ten.label].slope
    assert (unknown.films, unknown.method) == (0, "unchanged")
    assert (none.events, none.method) == (0, "unchanged")
    for fit in (ten, unknown, none):
        old, new = CARD.thresholds[fit.label], card.thresholds[fit.label]
        i = CARD.labels.index(fit.label)
        before, after = (probabilities(logits, one)[:, i] for one in (CARD, card))
        np.testing.assert_array_equal(before >= old.value, after >= new.value)
        kept = f"{old.rule}; kept at its logit, {fit.events} positive films here"
        assert new.rule == (old.rule if fit.method == "unchanged" else kept)


def test_at_another_point_few_films_keep_that_points_threshold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logits, truth = site(6, 60, slope=1, shift=0)
    truth[:, 0] = 0.0
    truth[:10, 0] = 1.0
    label = CARD.labels[0]
    card, _ = run(monkeypatch, tmp_path / "point", logits, truth, point="specificity 0.95")
    old, was, now = CARD.points["specificity 0.95"][label], CARD.calibration[label], card.calibration[label]
    assert card.thresholds == card.points["specificity 0.95"]
    assert card.thresholds[label].value == pytest.approx(moved(old.value, was, now))
    with pytest.raises(ConfigError, match="no operating point"):
        run(monkeypatch, tmp_path / "none", logits, truth, point="best")


def test_a_stated_prevalence_is_what_is_said_on_the_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    label = CARD.labels[0]
    logits, truth = site(5, 3000, slope=0.8, shift=0.0)
    plain, _ = run(monkeypatch, tmp_path / "plain", logits, truth)
    rare, fits = run(monkeypatch, tmp_path / "rare", logits, truth, prevalences={label: 0.01})
    # Films of a place where one in a hundred has it: what is said of them is one in a hundred on the whole.
    weights = np.where(truth[:, 0] == 1, 0.01 / truth[:, 0].mean(), 0.99 / (1 - truth[:, 0].mean()))
    assert np.average(probabilities(logits, rare)[:, 0], weights=weights) == pytest.approx(0.01, rel=0.1)
    assert rare.calibration[label].prevalence == 0.01
    assert rare.calibration[CARD.labels[1]] == plain.calibration[CARD.labels[1]]
    assert fits[label].calibration == rare.calibration[label]


def test_a_prevalence_is_mendedto_from_that_of_the_films(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Films that a calibration says too little of, but too few to show it: their own share is the start."""
    label = CARD.labels[0]
    logits, truth = site(8, 60, slope=1.0, shift=0.0)
    truth[:, 0] = np.arange(60) % 4 == 0
    logits[:, 0] = np.random.default_rng(0).normal(0, 0.3, 60)
    plain, before = run(monkeypatch, tmp_path / "plain", logits, truth)
    same, fits = run(monkeypatch, tmp_path / "same", logits, truth, prevalences={label: 0.25})
    assert probabilities(logits, same)[:, 0].mean() == pytest.approx(0.25, abs=0.02)
    more, _ = run(monkeypatch, tmp_path / "more", logits, truth, prevalences={label: 0.5})
    assert probabilities(logits, more)[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    assert fits[label].method != "unchanged"
    assert plain.calibration[label].prevalence is None and before[label].losses.keys() >= {"unchanged"}


def test_too_few_patients_to_fit_anything_to_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logits, truth = site(9, 2, slope=1, shift=0)
    with pytest.raises(ConfigError, match=r"too few, or alike in every label, to fit anything to"):
        run(monkeypatch, tmp_path / "two", logits, truth)
    assert not (tmp_path / "two").exists()


def test_classes_share_a_temperature_where_that_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "classes"
    exclusive = CARD.model_copy(
        update={"activation": "softmax", "calibration": {}, "thresholds": {}, "points": {}, "sets": {}}
    )
    copied(SIX, folder, exclusive)
    monkeypatch.setattr(sys.modules[__name__], "SIX", folder)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (600, 6))
    odds = np.exp(0.4 * logits)
    truth = np.eye(6)[[rng.choice(6, p=row / row.sum()) for row in odds]]
    card, fits = run(monkeypatch, tmp_path / "ours", logits, truth)
    assert {(fit.method, fit.films) for fit in fits.values()} == {("temperature", 600)}
    assert [fit.events for fit in fits.values()] == truth.sum(axis=0).tolist()
    for fit in fits.values():
        assert fit.losses["temperature"] < fit.losses["unchanged"] - 0.1
        assert fit.calibration.slope == pytest.approx(0.4, rel=0.2)
        assert fit.calibration == card.calibration[fit.label]
    said = probabilities(logits, card)
    np.testing.assert_array_equal(said.argmax(axis=1), logits.argmax(axis=1))
    few, fits = run(monkeypatch, tmp_path / "few", logits[:10], truth[:10])
    assert {fit.method for fit in fits.values()} == {"unchanged"}
    assert few.calibration == dict.fromkeys(CARD.labels, Calibration())
    with pytest.raises(ConfigError, match="300 patients: too few, or alike"):  # none has just one of them
        run(monkeypatch, tmp_path / "none", logits, np.ones_like(truth))
    assert not (tmp_path / "none").exists()


def test_classes_of_a_site_where_they_are_rarer_are_so_said_and_called_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "classes"
    was = {label: Calibration(slope=0.5, intercept=0.2 * i - 0.5) for i, label in enumerate(CARD.labels)}
    leaning = {label: -one.intercept for label, one in was.items()}
    none = {"thresholds": {}, "points": {}, "sets": {}}
    leans = CARD.model_copy(update={"activation": "softmax", "calibration": was, "leaning": leaning} | none)
    copied(SIX, folder, leans)
    monkeypatch.setattr(sys.modules[__name__], "SIX", folder)
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (900, 6))
    odds = np.exp(0.5 * logits + np.log([0.01, 0.04, 0.05, 0.1, 0.1, 0.7]))
    truth = np.eye(6)[[rng.choice(6, p=row / row.sum()) for row in odds]]
    card, fits = run(monkeypatch, tmp_path / "ours", logits, truth)
    assert {fit.method for fit in fits.values()} == {"Platt"}
    said = probabilities(logits, card)
    assert said.mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.01)
    np.testing.assert_array_equal(margins(said, card).argmax(axis=1), logits.argmax(axis=1))
    # An older card that leans does not say so: its calls stay, too.
    older = leans.model_copy(update={"leaning": {}, "calibration": {}})
    copied(SIX, tmp_path / "older", older)
    monkeypatch.setattr(sys.modules[__name__], "SIX", tmp_path / "older")
    card, _ = run(monkeypatch, tmp_path / "ours, older", logits, truth)
    np.testing.assert_array_equal(
        margins(probabilities(logits, card), card).argmax(axis=1), logits.argmax(axis=1)
    )
    straight = leans.model_copy(
        update={"leaning": {}, "config": leans.config | {"weighting": "none", "sampling": "even"}}
    )
    copied(SIX, tmp_path / "straight", straight)
    monkeypatch.setattr(sys.modules[__name__], "SIX", tmp_path / "straight")
    card, _ = run(monkeypatch, tmp_path / "ours too", logits, truth)
    assert card.leaning == {}


def test_what_cannot_be_calibrated_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    logits, truth = site(6, 50, slope=1, shift=0)
    with pytest.raises(ConfigError, match="have none of Atelectasis"):
        run(monkeypatch, tmp_path / "x", logits, np.full_like(truth, np.nan))
    run(monkeypatch, tmp_path / "once", logits, truth)
    with pytest.raises(ConfigError, match="holds a checkpoint already"):
        run(monkeypatch, tmp_path / "once", logits, truth)
    truth[:, 0] = 0
    with pytest.raises(ConfigError, match="Atelectasis: the films do not show both classes"):
        run(monkeypatch, tmp_path / "y", logits, truth, prevalences={"Atelectasis": 0.1})
    cache = Cache(samples=(), films=np.zeros((0, 8, 8), np.uint8), masks=None, failures={})
    with pytest.raises(ConfigError, match="hilum-lungs: made to segment; only classifiers have calibrations"):
        recalibrate(find("hilum-lungs"), cache, tmp_path / "x", data="")


def test_it_needs_no_torch() -> None:
    code = "import sys, hilum.adapting.recalibrate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_patients_films_move_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    logits, truth = site(7, 60, slope=1, shift=0)
    truth[2:, 0] = np.nan
    truth[:2, 0] = 1.0, 0.0
    truth[:, 1] = 0.0
    truth[:2, 1] = 1.0
    _, fits = run(monkeypatch, tmp_path / "one", logits, truth)
    for label in CARD.labels[:2]:
        assert (fits[label].method, fits[label].calibration) == ("unchanged", CARD.calibration[label])


def test_on_real_films_the_error_on_other_patients_falls_and_the_order_stays(
    films: Path, tmp_path: Path
) -> None:
    """A model that says too much of every label, set right on some patients of the tuning fold."""
    off = {
        label: one.model_copy(update={"slope": 0.5 * one.slope, "intercept": one.intercept + 1.5})
        for label, one in CARD.calibration.items()
    }
    copied(SIX, tmp_path / "off", CARD.model_copy(update={"calibration": off}))
    split = read_split(ROOT / "configs" / "splits" / "nih.csv")
    tuning = select(open_data(f"nih:{films / 'nih14-64px'}"), split, "tune")
    names = sorted({sample.patient for sample in tuning})
    ours, others = (
        films_for([CARD], [one for one in tuning if one.patient in some], tmp_path / "cache")
        for some in (set(names[0:160:2]), set(names[1:160:2]))
    )
    card, fits = recalibrate(tmp_path / "off", ours, tmp_path / "right", data="half of a fold")
    mended = [fit.label for fit in fits if fit.method != "unchanged"]
    assert len(mended) >= 4  # of some labels these few patients have too few films
    logits, truth = logits_of(Runtime(SIX), others), others.truth(CARD.labels)
    before, after = (
        probabilities(logits, one) for one in (CARD.model_copy(update={"calibration": off}), card)
    )
    for i, label in enumerate(CARD.labels):
        assert auroc(truth[:, i], after[:, i]) == auroc(truth[:, i], before[:, i]), label
        known = ~np.isnan(truth[:, i])
        errors = [
            scores.calibration_error(truth[known, i], said[known, i], 5)(np.ones((1, known.sum())))
            for said in (before, after)
        ]
        assert label not in mended or errors[1] < errors[0] / 2, label
