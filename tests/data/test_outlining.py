"""Pseudo-labels: only films with reliable masks are kept, and they open as a data set."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.card import Card, Preparation, Reliability
from hilum.data import open_data
from hilum.data.masks import structures_of
from hilum.data.opened import decode
from hilum.data.outlining import outline_films
from hilum.data.phantom import samples as phantoms
from hilum.errors import ConfigError, ReadError
from hilum.reading.reader import read as read_film
from hilum.types import STRUCTURES, Array, Radiograph, Sample

SIZE = 64  # of the network
FILM = 128  # of the films
# What is missing to 1.01 is twice what the network says: a quality of twice the promise less 1.01.
FITTED = Reliability(intercept=math.log(2), slope=1, threshold=0.5)


def box(top: int, bottom: int, left: int, right: int) -> Array:
    shape = np.zeros((SIZE, SIZE), bool)
    shape[top:bottom, left:right] = True
    return shape


RIGHT, LEFT, HEART = box(8, 48, 6, 26), box(8, 48, 36, 56), box(50, 60, 26, 46)


def says(*shapes: Array, promises: Sequence[float] = (1, 1, 1)) -> Array:
    """Logits (1, 3, S, S) of a network that finds these shapes and promises these Dice, above 2/3, of them.

    Of a shape that has the probability p, and nothing around it, a Dice of 2p / (1 + p) is promised.
    """
    doubts = [20.0 if promise == 1 else math.log(promise / (2 - 2 * promise)) for promise in promises]
    planes = [np.where(shape, doubt, -20.0) for shape, doubt in zip(shapes, doubts, strict=True)]
    return np.stack(planes)[None].astype(np.float32)


GOOD = says(RIGHT, LEFT, HEART)
UNSURE_LUNG = says(RIGHT, LEFT, HEART, promises=(0.9, 1, 1))  # a quality of 0.79
UNSURE_HEART = says(RIGHT, LEFT, HEART, promises=(1, 1, 0.95))  # a quality of 0.89
SMALL_LUNG = says(box(8, 16, 6, 14), LEFT, HEART)  # 64 of 4096 pixels


@dataclass
class Stub:
    """Replaces a loaded segmenter: returns the given logits, film by film."""

    answers: Sequence[Array]
    known: Sequence[str] = STRUCTURES
    threshold: float = 0.5
    calls: list[int] = field(default_factory=list)

    @property
    def card(self) -> Card:
        fields = {"name": "stub", "version": "1", "task": "segment", "architecture": "none"}
        fitted = FITTED.model_copy(update={"threshold": self.threshold})
        more = {"labels": STRUCTURES, "preparation": Preparation(size=SIZE)}
        return Card.model_validate(fields | more | {"reliability": dict.fromkeys(self.known, fitted)})

    def __call__(self, films: Array) -> dict[str, Array]:
        self.calls.append(len(films))
        return {"logits": self.answers[len(self.calls) - 1]}


@pytest.fixture
def films(tmp_path: Path) -> list[Sample]:
    """Four films of three patients of the ward."""
    found = []
    for i, patient in enumerate("aabc"):
        path = tmp_path / "films" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (FILM, FILM)).astype(np.uint8)
        path.write_bytes(cv2.imencode(".png", noise)[1].tobytes())
        found.append(Sample(id=f"ward:day/{i}.png", patient=f"ward:{patient}", image=path, site="ward"))
    return found


def run(stub: Stub, films: Sequence[Sample], out: Path, **more: Any) -> dict[str, int]:
    """Films one by one, in the order of the stub's answers."""
    counts, failures = outline_films(stub, films, out, **{"least": 0.93, "threads": 1, **more})  # type: ignore[arg-type]
    assert len(failures) == counts["unreadable"]
    return counts


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "outlined.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def label_map(right: Array, left: Array, heart: Array) -> Array:
    small = np.select([right, left, heart], [1, 2, 3], 0).astype(np.uint8)
    return np.asarray(small.repeat(FILM // SIZE, axis=0).repeat(FILM // SIZE, axis=1))


def read(path: Path) -> Array:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def test_a_kept_film_has_a_row_and_a_mask_of_its_own_size(films: list[Sample], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    film = replace(films[0], view="AP")
    assert run(Stub([GOOD]), [film], out) == {"kept": 1, "unsure": 0, "complete": 0, "unreadable": 0}
    (row,) = rows(out)
    mask = row.pop("mask")
    assert mask.startswith("masks/") and [path.name for path in (out / "masks").iterdir()] == [mask[6:]]
    assert row == {
        "path": str(tmp_path / "films" / "0.png"),
        "id": "day/0.png",
        "patient": "a",
        "site": "ward",
        "view": "AP",
        "structures": "right_lung|left_lung|heart",
        "quality": "0.9900",
    }
    np.testing.assert_array_equal(read(out / mask), label_map(RIGHT, LEFT, HEART))


def test_what_was_kept_is_a_data_set_that_trains(films: list[Sample], tmp_path: Path) -> None:
    run(Stub([GOOD, UNSURE_LUNG, GOOD, GOOD]), films, tmp_path / "out")
    back = open_data(f"csv:{tmp_path / 'out' / 'outlined.csv'}")
    # The same films of the same patients, so that a split made of the originals holds for them.
    kept = [films[i] for i in (0, 2, 3)]
    assert [sample.id for sample in back] == [sample.id for sample in kept]
    assert [sample.patient for sample in back] == [sample.patient for sample in kept]
    assert {sample.structures for sample in back} == {frozenset(STRUCTURES)}
    assert {tuple(sample.labels) for sample in back} == {()}  # nothing in it is a label of the film
    for sample, original in zip(back, kept, strict=True):
        film, mask = decode(sample, FILM)
        np.testing.assert_array_equal(film, decode(original, FILM)[0])
        np.testing.assert_array_equal(mask, label_map(RIGHT, LEFT, HEART))


@pytest.mark.parametrize(
    ("answer", "least", "kept"),
    [
        (GOOD, 0.93, True),
        (GOOD, 0.995, False),
        (UNSURE_LUNG, 0.78, True),  # its quality is 0.79, the lowest of the three
        (UNSURE_LUNG, 0.80, False),
        (UNSURE_HEART, 0.88, True),
        (UNSURE_HEART, 0.90, False),
        (SMALL_LUNG, 0.5, False),  # sure of it, but no lung is as small
        (says(RIGHT, LEFT, box(0, 0, 0, 0)), 0.5, False),  # a heart that was not found has no quality
    ],
)
def test_a_film_is_kept_where_its_worst_outline_is_good_enough(
    answer: Array, least: float, kept: bool, films: list[Sample], tmp_path: Path
) -> None:
    counts = run(Stub([answer]), films[:1], tmp_path / "out", least=least)
    assert counts == {"kept": int(kept), "unsure": int(not kept), "complete": 0, "unreadable": 0}
    assert len(rows(tmp_path / "out")) == len(list((tmp_path / "out" / "masks").iterdir())) == int(kept)


@pytest.mark.parametrize(("threshold", "kept"), [(0.88, True), (0.90, False)])
def test_a_film_with_an_unreliable_outline_is_unsure(
    threshold: float, kept: bool, films: list[Sample], tmp_path: Path
) -> None:
    counts = run(Stub([UNSURE_HEART], threshold=threshold), films[:1], tmp_path / "out", least=0.5)
    assert counts == {"kept": int(kept), "unsure": int(not kept), "complete": 0, "unreadable": 0}


def test_a_film_that_the_gate_refuses_is_unsure_and_not_outlined(films: list[Sample], tmp_path: Path) -> None:
    long = np.random.default_rng(0).integers(0, 256, (FILM, 3 * FILM)).astype(np.uint8)
    assert isinstance(films[0].image, Path)
    films[0].image.write_bytes(cv2.imencode(".png", long)[1].tobytes())
    stub = Stub([GOOD])
    assert run(stub, films[:2], tmp_path / "out") == {"kept": 1, "unsure": 1, "complete": 0, "unreadable": 0}
    assert len(stub.calls) == 1
    assert [row["id"] for row in rows(tmp_path / "out")] == ["day/1.png"]


def test_films_whose_names_are_alike_keep_masks_of_their_own(films: list[Sample], tmp_path: Path) -> None:
    names = ("ward:day/0", "ward:day_0", "ward:day:0", "ward:../0")
    alike = [replace(film, id=name) for film, name in zip(films, names, strict=True)]
    run(Stub([GOOD, says(RIGHT, LEFT, box(50, 58, 26, 46)), GOOD, GOOD]), alike, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert len({row["mask"] for row in found}) == 4
    assert (read(tmp_path / "out" / found[1]["mask"]) == 3).sum() == 4 * 8 * 20  # twice the network's side
    assert (read(tmp_path / "out" / found[0]["mask"]) == 3).sum() == 4 * 10 * 20


def test_a_run_that_ends_early_leaves_no_table_and_the_older_one_as_it_was(
    films: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(IndexError):
        run(Stub([GOOD]), films, tmp_path / "out")
    assert not (tmp_path / "out" / "outlined.csv").exists()
    run(Stub([GOOD] * 4), films, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"masks", "outlined.csv"}
    with pytest.raises(IndexError):
        run(Stub([GOOD]), films, tmp_path / "out")
    assert len(rows(tmp_path / "out")) == len(list((tmp_path / "out" / "masks").iterdir())) == 4


def masked(sample: Sample, mask: Array, folder: Path) -> Sample:
    """The sample with its own mask: a label map, or black and white lungs."""
    path = folder / f"{sample.id.replace('/', '-').replace(':', '-')}"
    path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    return replace(sample, masks=path, structures=structures_of([path]))


def test_a_films_own_lungs_stay_and_the_model_adds_the_heart(films: list[Sample], tmp_path: Path) -> None:
    # The reader's left lung runs two rows into the heart that the model finds.
    reader = label_map(RIGHT, box(8, 52, 36, 56), box(0, 0, 0, 0))
    film = masked(films[0], np.where(reader > 0, 255, 0).astype(np.uint8), tmp_path)
    assert film.structures == {"lungs"}
    assert run(Stub([GOOD]), [film], tmp_path / "out")["kept"] == 1
    (row,) = rows(tmp_path / "out")
    # The lowest Dice is that of the heart and what is left of it: 2 x 180 / (180 + 200).
    assert (row["structures"], row["quality"]) == ("right_lung|left_lung|heart", "0.9474")
    assert run(Stub([GOOD]), [film], tmp_path / "strict", least=0.95)["kept"] == 0
    wanted = np.where(reader > 0, reader, label_map(RIGHT, LEFT, HEART) // 3 * 3)
    np.testing.assert_array_equal(read(tmp_path / "out" / row["mask"]), wanted)
    (back,) = open_data(f"csv:{tmp_path / 'out' / 'outlined.csv'}")
    np.testing.assert_array_equal(decode(back, FILM)[1], wanted)


@pytest.mark.parametrize(("least", "kept"), [(0.88, True), (0.90, False)])
def test_a_film_on_which_model_and_mask_differ_is_unsure(
    least: float, kept: bool, films: list[Sample], tmp_path: Path
) -> None:
    # A right lung a fifth shorter than the model's, a Dice of 0.889, of whose own much more is promised.
    film = masked(films[0], label_map(box(16, 48, 6, 26), LEFT, box(0, 0, 0, 0)), tmp_path)
    counts = run(Stub([GOOD]), [film], tmp_path / "out", least=least)
    assert counts == {"kept": int(kept), "unsure": int(not kept), "complete": 0, "unreadable": 0}


def test_lungs_without_sides_get_the_models(films: list[Sample], tmp_path: Path) -> None:
    joined = RIGHT | LEFT | box(20, 24, 26, 36)  # a reader's lungs that touch
    film = masked(films[0], label_map(box(0, 0, 0, 0), joined, box(0, 0, 0, 0)) // 2 * 255, tmp_path)
    run(Stub([GOOD]), [film], tmp_path / "out", least=0.9)
    (row,) = rows(tmp_path / "out")
    found = read(tmp_path / "out" / row["mask"])
    wanted = label_map(RIGHT | box(20, 24, 26, 31), LEFT | box(20, 24, 31, 36), HEART)
    np.testing.assert_array_equal(found, wanted)
    assert row["structures"] == "right_lung|left_lung|heart"


def test_a_mask_of_another_size_than_its_film_keeps_its_own(films: list[Sample], tmp_path: Path) -> None:
    small = label_map(RIGHT, LEFT, box(0, 0, 0, 0))[::2, ::2]
    run(Stub([GOOD]), [masked(films[0], small, tmp_path)], tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    np.testing.assert_array_equal(
        read(tmp_path / "out" / row["mask"]), label_map(RIGHT, LEFT, HEART)[::2, ::2]
    )


def test_a_film_whose_mask_shows_all_is_not_outlined_anew(films: list[Sample], tmp_path: Path) -> None:
    stub = Stub([GOOD])
    film = masked(films[0], label_map(RIGHT, LEFT, HEART), tmp_path)
    assert run(stub, [film], tmp_path / "out") == {"kept": 0, "unsure": 0, "complete": 1, "unreadable": 0}
    assert stub.calls == []


def test_a_mask_that_cannot_be_used_is_counted_as_unreadable(films: list[Sample], tmp_path: Path) -> None:
    film = masked(films[0], label_map(RIGHT, LEFT, HEART), tmp_path)
    assert isinstance(film.masks, Path)
    film.masks.write_bytes(b"no mask")
    counts = run(Stub([GOOD]), [film, films[1]], tmp_path / "out")
    assert counts == {"kept": 1, "unsure": 0, "complete": 0, "unreadable": 1}


def test_masks_that_a_run_reads_or_did_not_write_are_never_lost(films: list[Sample], tmp_path: Path) -> None:
    own = tmp_path / "ward" / "masks"
    own.mkdir(parents=True)
    film = masked(films[0], label_map(RIGHT, LEFT, box(0, 0, 0, 0)), own)
    for given in ([film], [films[1]]):  # read from there; or there, whoever made it
        with pytest.raises(ConfigError, match="holds masks that would be lost; choose another --out"):
            run(Stub([GOOD]), given, tmp_path / "ward")
    run(Stub([GOOD]), films[:1], tmp_path / "out")
    back = open_data(f"csv:{tmp_path / 'out' / 'outlined.csv'}")
    with pytest.raises(ConfigError, match="holds masks that would be lost"):
        run(Stub([GOOD]), back, tmp_path / "out")
    assert len(list(own.iterdir())) == len(list((tmp_path / "out" / "masks").iterdir())) == 1


def test_a_rerun_leaves_no_mask_of_the_run_before(films: list[Sample], tmp_path: Path) -> None:
    run(Stub([GOOD] * 4), films, tmp_path / "out")
    run(Stub([UNSURE_LUNG, GOOD]), films[:2], tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert (row["id"], [f"masks/{path.name}" for path in (tmp_path / "out" / "masks").iterdir()]) == (
        "day/1.png",
        [row["mask"]],
    )


def test_a_run_that_was_killed_goes_on_where_it_stood(films: list[Sample], tmp_path: Path) -> None:
    assert isinstance(films[0].image, Path)
    films[0].image.write_bytes(b"no film")
    with pytest.raises(IndexError):
        run(Stub([GOOD, UNSURE_LUNG]), films, tmp_path / "out")
    journal = tmp_path / "out" / ".outlined.jsonl"
    journal.write_text(journal.read_text() + '["cut off')
    rest = Stub([GOOD])
    assert run(rest, films, tmp_path / "out") == {"kept": 2, "unsure": 1, "complete": 0, "unreadable": 1}
    assert len(rest.calls) == 1
    whole = Stub([GOOD, UNSURE_LUNG, GOOD])
    assert run(whole, films, tmp_path / "whole")["kept"] == 2
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    # With another minimum, none of it counts.
    with pytest.raises(IndexError):
        run(Stub([GOOD, UNSURE_LUNG]), films, tmp_path / "out")
    assert run(Stub([GOOD] * 3), films, tmp_path / "out", least=0.5)["kept"] == 3


def test_films_outlined_side_by_side_stand_in_their_order(films: list[Sample], tmp_path: Path) -> None:
    run(Stub([GOOD] * 4), films, tmp_path / "one")
    run(Stub([GOOD] * 4), films, tmp_path / "four", threads=4)
    assert rows(tmp_path / "one") == rows(tmp_path / "four")


def test_a_patient_of_another_data_set_comes_back_as_himself(films: list[Sample], tmp_path: Path) -> None:
    """RSNA's films and patients are NIH's: a split must recognise them."""
    film = replace(films[0], id="rsna:a", site="rsna", patient="nih:17")
    run(Stub([GOOD]), [film], tmp_path / "out")
    (back,) = open_data(f"csv:{tmp_path / 'out' / 'outlined.csv'}")
    assert (back.id, back.patient) == (film.id, film.patient)


def test_masks_that_are_put_together_when_asked_for_are_used(films: list[Sample], tmp_path: Path) -> None:
    own = label_map(RIGHT, LEFT, box(0, 0, 0, 0))
    film = replace(films[0], masks=lambda: own, structures=frozenset(("right_lung", "left_lung")))
    assert run(Stub([GOOD]), [film], tmp_path / "out")["kept"] == 1


def test_a_film_that_cannot_be_read_is_counted_and_passed_over(films: list[Sample], tmp_path: Path) -> None:
    assert isinstance(films[1].image, Path)
    films[1].image.write_bytes(b"no film")
    gone = replace(films[2], image=tmp_path / "nowhere.png")
    stub, said = Stub([GOOD, UNSURE_HEART]), list[tuple[int, int, str]]()
    counts = run(
        stub, [films[0], films[1], gone, films[3]], tmp_path / "out", tick=lambda *now: said.append(now)
    )
    assert counts == {"kept": 1, "unsure": 1, "complete": 0, "unreadable": 2}
    assert stub.calls == [1] * 2  # once a film
    assert [row["id"] for row in rows(tmp_path / "out")] == ["day/0.png"]
    assert said == [(i, 4, "1 kept") for i in range(1, 5)]


def test_a_structure_that_the_model_never_learned_is_neither_judged_nor_kept(
    films: list[Sample], tmp_path: Path
) -> None:
    stub = Stub([UNSURE_HEART, UNSURE_LUNG], known=["left_lung", "right_lung"])
    assert run(stub, films[:2], tmp_path / "out") == {"kept": 1, "unsure": 1, "complete": 0, "unreadable": 0}
    (row,) = rows(tmp_path / "out")
    assert (row["structures"], row["quality"]) == ("right_lung|left_lung", "0.9900")
    np.testing.assert_array_equal(
        read(tmp_path / "out" / row["mask"]), label_map(RIGHT, LEFT, box(0, 0, 0, 0))
    )


def test_a_model_whose_quality_was_never_fitted_is_refused(films: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stub: its card has no reliability; train it with this version"):
        run(Stub([GOOD], known=[]), films, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_generated_film_needs_no_pseudo_label(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file of its own that a csv could name; give films from files"):
        run(Stub([GOOD]), phantoms("1"), tmp_path / "out")


def test_what_a_killed_run_could_not_read_or_lost_is_looked_at_again(
    films: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> Radiograph:
        if path == films[0].image:
            raise ReadError(str(path), "damaged", "export it again")
        return read_film(path)

    with monkeypatch.context() as patch, pytest.raises(IndexError):
        patch.setattr("hilum.data.outlining.read", failing)
        run(Stub([GOOD]), films, tmp_path / "out")
    (mask,) = (tmp_path / "out" / "masks").iterdir()
    mask.unlink()
    # The same films under another patient's name: the rows are those of now.
    renamed = [replace(film, patient="ward:other") for film in films]
    assert run(Stub([GOOD] * 4), renamed, tmp_path / "out")["kept"] == 4
    assert {row["patient"] for row in rows(tmp_path / "out")} == {"other"}
    assert all((tmp_path / "out" / row["mask"]).is_file() for row in rows(tmp_path / "out"))
