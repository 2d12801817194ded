"""Models that are planted to go by a marker, or by the heart, and what the audit makes of them."""

from __future__ import annotations

import csv
import errno
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from hilum.card import Card, Preparation
from hilum.data.phantom import draw
from hilum.errors import CheckpointError, ConfigError
from hilum.evaluation.blank import BLANKS, INSIDE, OUTSIDE, UNFRAMED
from hilum.evaluation.blanked import pictures, see
from hilum.evaluation.conclusions import AUROC, CHANGE, PREVALENCE, PROBE
from hilum.evaluation.figures import Figure
from hilum.evaluation.shortcuts import Audit, attributes, audit, groups_in
from hilum.evaluation.shortcuts_page import write
from hilum.evaluation.verdicts import mean_name
from hilum.labels import SIX
from hilum.pipeline import SEGMENTER
from hilum.prepare import prepare
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.types import Array, Sample

SIZE = 64
FILMS = 80


@dataclass
class Planted:
    """In the place of a loaded checkpoint: its one score is how bright a place of the film is."""

    card: Card
    place: tuple[slice, slice]

    def __call__(self, films: Array) -> dict[str, Array]:
        grey = films[:, 0, *self.place].mean(axis=(1, 2))
        logits = np.repeat(grey[:, None], len(self.card.labels), axis=1)
        return {"logits": logits, "features": np.stack([grey, films.mean(axis=(1, 2, 3))], axis=1)}


def planted(place: tuple[slice, slice], **more: object) -> Runtime:
    fields = {
        "name": "planted",
        "version": "1",
        "task": "classify",
        "labels": ["Edema"],
        "architecture": "none",
    }
    card = Card.model_validate(fields | {"preparation": Preparation(size=SIZE)} | more)
    return Planted(card, place)  # type: ignore[return-value]


CORNER = planted((slice(1, 5), slice(1, 5)))
HEART = planted((slice(34, 40), slice(30, 36)))


@cache
def film(seed: int, marked: bool, dense: bool) -> Array:
    """A phantom with a bright marker in the corner, or a bright heart, or both."""
    pixels = draw(seed, size=128, findings=[]).pixels.copy()
    pixels[:12, :12] = 255 if marked else 0
    if dense:
        pixels[64:84, 56:76] = 255
    return pixels


def marked_films(sign: str = "marker", every: int = 2) -> list[Sample]:
    """Films, every so many with edema, which nine in ten of one sign go with, and half of the other."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(FILMS):
        ill = i % every == 0
        true, chance = bool(ill != (rng.random() < 0.1)), bool(rng.random() < 0.5)
        marked, dense = (true, chance) if sign == "marker" else (chance, true)
        found.append(
            Sample(
                id=f"f{i}",
                patient=f"p{i}",
                image=partial(film, i, marked, dense),
                labels={"Edema": float(ill)},
                site="a" if marked else "b",
                view="AP" if i % 4 < 2 else "PA",
            )
        )
    return found


@pytest.fixture(scope="module")
def corner() -> Audit:
    return audit(CORNER, marked_films(), repeats=200)


@pytest.fixture(scope="module")
def heart() -> Audit:
    return audit(HEART, marked_films("heart"), repeats=200)


def one(found: Audit, subject: str, measure: str, condition: str = "") -> Figure:
    (figure,) = (
        f for f in found.figures if (f.subject, f.measure, f.condition) == (subject, measure, condition)
    )
    return figure


def test_a_model_that_reads_a_marker_is_exposed(corner: Audit) -> None:
    assert one(corner, "Edema", AUROC).value > 0.8
    assert one(corner, "Edema", AUROC, OUTSIDE).low > 0.8
    for condition in (INSIDE, UNFRAMED):
        blind = one(corner, "Edema", AUROC, condition)
        assert blind.low < 0.5 < blind.high
        change = one(corner, "Edema", CHANGE, condition)
        assert change.high < -0.2
        assert change.value == pytest.approx(blind.value - one(corner, "Edema", AUROC).value)
    traces = "Both signs of a shortcut for Edema: predicted from the outside alone, "
    traces += "and worse without the frame."
    assert traces in corner.conclusions


def test_a_model_that_reads_the_heart_is_not(heart: Audit) -> None:
    assert one(heart, "Edema", AUROC).value > 0.8
    for condition in (INSIDE, UNFRAMED):
        assert one(heart, "Edema", AUROC, condition).low > 0.7
    blind = one(heart, "Edema", AUROC, OUTSIDE)
    assert blind.low < 0.5 < blind.high
    assert not any("shortcut" in line or "falls" in line for line in heart.conclusions)
    assert any(
        line.startswith("From the outside alone the model predicts nothing") for line in heart.conclusions
    )


def test_the_probe_finds_what_the_features_hold_and_nothing_else(corner: Audit, heart: Audit) -> None:
    assert one(corner, "site a", PROBE).low > 0.9  # a site is known by its marker
    assert not one(heart, "site a", PROBE).low > 0.7
    assert not one(corner, "view AP", PROBE).low > 0.5
    samples = marked_films()
    at = [s.labels["Edema"] for s in samples if s.site == "a"]
    assert one(corner, "Edema", PREVALENCE, "site a").value == pytest.approx(np.mean(at))
    assert any(line.startswith("site a alone predicts Edema 0.") for line in corner.conclusions)


def test_the_mean_is_of_the_films_on_which_any_finding_is_known() -> None:
    labels = {"Consolidation": lambda i: float(i % 2) if i % 3 else float("nan")}
    films = [
        replace(sample, labels=dict(sample.labels) | {name: of(i) for name, of in labels.items()})
        for i, sample in enumerate(marked_films())
    ]
    found = audit(planted((slice(1, 5), slice(1, 5)), labels=["Edema", "Consolidation"]), films, repeats=50)
    assert one(found, mean_name(range(2)), AUROC).films == FILMS


def test_columns_that_the_data_lack_are_named(corner: Audit) -> None:
    assert corner.missing == (
        "sex: not available, no film has a value for it",
        "data set: not available, no film has a value for it",
        "age: not available, no film has a value for it",
    )
    assert not any(figure.subject.startswith("sex") for figure in corner.figures)


def test_groups_are_the_smaller_of_two_or_each_of_more() -> None:
    def sample(i: int, **more: object) -> Sample:
        return Sample(id=str(i), patient=str(i), image=Path("x"), site="s", **more)  # type: ignore[arg-type]

    samples = [
        sample(i, age=age, sex=sex)
        for i, (age, sex) in enumerate([(20, "F"), (30, "M"), (50, "M"), (None, None)])
    ]
    columns = attributes(samples, {"0": "one", "1": "two", "2": "three"})
    found, missing = groups_in(columns)
    assert set(found) == {"sex F", "age above 30", "data set one", "data set two", "data set three"}
    np.testing.assert_array_equal(found["age above 30"], [0, 0, 1, np.nan])
    np.testing.assert_array_equal(found["sex F"], [1, 0, 0, np.nan])
    assert missing == [
        "view: not available, no film has a value for it",
        "site: not available, nothing to tell apart, all films are s",
    ]


def test_labels_with_too_few_films_get_no_conclusion() -> None:
    found = audit(CORNER, marked_films(every=16), repeats=100)
    assert found.conclusions[0] == "Edema: too few: 5 positive, fewer than 10; no conclusion."
    assert not any(figure.condition in BLANKS for figure in found.figures)


@pytest.mark.parametrize("region", ["film", "crop", "lungs", "outlines"])
def test_a_film_is_shown_as_in_use_and_blanked_by_its_own_outlines(region: str) -> None:
    preparation = Preparation.model_validate({"size": SIZE, "region": region})
    sample = replace(marked_films()[0], image=partial(film, 3, True, False))
    seen: list[Array] = []

    def model(films: Array) -> dict[str, Array]:
        seen.append(films)
        return {"logits": np.zeros((len(films), 1), np.float32)}

    model.card = planted((slice(1), slice(1)), preparation=preparation).card  # type: ignore[attr-defined]
    found = see(model, [sample])  # type: ignore[arg-type]
    pixels = film(3, True, False).astype(np.float32) / 255
    mask = segment(Runtime(find(SEGMENTER)), pixels).mask
    shown = [pixels, *(blank(pixels, mask) for blank in BLANKS.values())]
    for inputs, changed in zip(seen, shown, strict=True):
        np.testing.assert_allclose(inputs[0], prepare(changed, preparation, mask), atol=1e-5)
    assert list(found.logits) == ["", *BLANKS]
    assert found.features is None
    sides = {picture.shape for picture in pictures(sample, preparation).values()}
    assert len(sides) == 1 and (sides == {pixels.shape}) == (region != "crop")


def test_films_without_a_chest_and_unreadable_ones_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.data.opened._PATIENCE", (0.0, 0.0, 0.0))
    samples = marked_films()
    (tmp_path / "broken.png").write_bytes(b"broken")
    samples[3] = replace(samples[3], image=lambda: np.zeros((100, 100), np.uint8))
    samples[5] = replace(samples[5], image=tmp_path / "broken.png")
    reads = []

    def failing(times: int) -> Array:
        """A network that is away, for so many reads."""
        reads.append(times)
        if reads.count(times) <= times:
            raise OSError(errno.EIO, "Input/output error")
        return film(7, False, False)

    samples[7] = replace(samples[7], image=partial(failing, 2))
    samples[9] = replace(samples[9], image=partial(failing, 99))
    found = audit(CORNER, samples, repeats=100)
    assert found.without_chest == ("f3",)
    assert list(found.failures) == ["f5", "f9"]
    assert [s.id for s in found.samples] == [f"f{i}" for i in range(FILMS) if i not in (3, 5, 9)]
    assert found.missing[-2:] == (
        "no chest was found in 1 films, which are left out",
        "could not be read: 2 films, which are left out",
    )
    assert one(found, "Edema", AUROC).films == FILMS - 3


def test_what_cannot_be_audited_is_refused() -> None:
    blank = replace(marked_films()[0], image=lambda: np.zeros((100, 100), np.uint8))
    with pytest.raises(ConfigError, match="no film shows a chest"):
        audit(CORNER, [blank])
    with pytest.raises(ConfigError, match="the films have none of Edema"):
        audit(CORNER, [replace(blank, labels={})])
    with pytest.raises(ConfigError, match="made to segment; give a classifier"):
        audit(Runtime(find(SEGMENTER)), [blank])
    foreign = planted((slice(1), slice(1)), outlines_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="learned from the outlines of another segmenter"):
        audit(foreign, [blank])


def about(**more: object) -> dict[str, object]:
    model = {"name": "planted", "version": "1", "sha256": "0" * 64, "preprocessing": "stretch"}
    return {
        "model": model, "data": ["csv:ours.csv"], "seed": 0, "repeats": 200, "drawn": 0, "warnings": [],
        "disclaimer": "Research use only.", "created": "now", "hilum": "0",
    } | more  # fmt: skip


def test_the_page_says_the_conclusions_and_shows_films_only_when_asked(corner: Audit, tmp_path: Path) -> None:
    page = write(corner, about(), tmp_path / "bare").read_text(encoding="utf-8")
    for sentence in (*corner.conclusions, *corner.missing):
        assert sentence in page
    assert "<img" not in page
    asked = write(corner, about(), tmp_path / "shown", shown=CORNER.card.preparation)
    assert asked.read_text(encoding="utf-8").count("<img") == 2 * (1 + len(BLANKS))
    document = json.loads((tmp_path / "bare" / "shortcuts.json").read_text(encoding="utf-8"))
    assert document["conclusions"] == list(corner.conclusions)
    assert len(document["figures"]) == len(corner.figures)


def hilum(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, in which importing torch fails."""
    code = "import sys; sys.modules['torch'] = None; from hilum.cli import main; main()"
    command: Sequence[str] = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_writes_everything(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = hilum("shortcuts", "hilum-six", "phantom:60@2", "--out", out, "--films", 50, "--pictures")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"shortcuts.json", "shortcuts.csv", "shortcuts.html"}
    document = json.loads((out / "shortcuts.json").read_text(encoding="utf-8"))
    assert document["drawn"] == 50 and document["model"]["name"] == "hilum-six"
    for line in (*document["missing"], *document["conclusions"]):
        assert line in done.stdout.splitlines()
    assert "site: not available, nothing to tell apart, all films are phantom" in document["missing"]
    with (out / "shortcuts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["condition"] for row in rows if row["measure"] == AUROC} >= {"", *BLANKS}
    assert {row["subject"] for row in rows if row["measure"] == AUROC} >= set(SIX)
    assert {row["subject"] for row in rows if row["measure"] == PROBE} >= {"view AP"}
    assert document["warnings"] == []  # no model has learned from phantoms
    page = (out / "shortcuts.html").read_text(encoding="utf-8")
    assert "50 of them drawn with seed" in page
