"""Leakage planted among generated films, and what the audit finds."""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.cli import app
from hilum.commands.leaks import data_audit
from hilum.data import open_data
from hilum.data.phantom import draw
from hilum.data.split import make_split, read_split
from hilum.data.ties import read_together, tied
from hilum.errors import DataError
from hilum.leakage import LEAST
from hilum.leakage.audit import FILE, PICTURE, PIXELS, Audit, audit, leaks, listed
from hilum.leakage.looks import gather, look_of
from hilum.leakage.search import TURNS
from hilum.leakage.traces import PLAIN, told
from hilum.leakage.words import counts, sentences
from hilum.types import Array, Sample

FILMS = 24


def jpeg(film: Array, quality: int) -> Array:
    coded = cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))


def greys(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda film: np.rint(255 * change(film / np.float32(255)).clip(0, 1)).astype(np.uint8)


COPIES: dict[str, Callable[[Array], Array]] = {
    "smaller": lambda film: cv2.resize(film, (140, 140), interpolation=cv2.INTER_AREA),
    "larger": lambda film: cv2.resize(film, (400, 400), interpolation=cv2.INTER_CUBIC),
    "stretched": lambda film: cv2.resize(film, (300, 200), interpolation=cv2.INTER_AREA),
    "JPEG": lambda film: jpeg(film, 40),
    "brighter": greys(lambda film: film**0.6),
    "darker": greys(lambda film: film**1.7),
    "less contrast": greys(lambda film: 0.3 + 0.4 * film),
    "cropped": lambda film: film[13:-13, 13:-13],
    "cropped at one corner": lambda film: film[: 256 - 13, 13:],
    "padded": lambda film: cv2.copyMakeBorder(film, 0, 0, 40, 40, cv2.BORDER_CONSTANT, value=0),
    "all at once": lambda film: jpeg(
        cv2.resize(film[8:, :-10], (150, 150), interpolation=cv2.INTER_AREA), 60
    ),
    **{turn: lambda film, turn=change: np.ascontiguousarray(turn(film)) for turn, change in TURNS.items()},  # type: ignore[misc]
}


def sample(film: Array, name: str, patient: str | None = None, **more: str) -> Sample:
    return Sample(id=name, patient=patient or name, image=lambda: film, site="here", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def phantoms() -> list[Array]:
    return [draw(seed, size=256).pixels for seed in range(FILMS)]


def audited(**sets: list[Sample]) -> Audit:
    films = listed({f"nih:{name}": samples for name, samples in sets.items()})
    return audit(films, gather([film.sample for film in films]))


@pytest.fixture(scope="module")
def originals(phantoms: list[Array]) -> list[Sample]:
    return [sample(film, f"o{i}") for i, film in enumerate(phantoms)]


def test_different_phantoms_are_different_and_so_are_two_films_of_one(originals: list[Sample]) -> None:
    again = [sample(draw(1000 + i, patient=i).pixels, f"again{i}", f"o{i}") for i in range(FILMS)]
    found = audited(a=originals, b=again)
    assert found.pairs == ()
    assert found.data_sets[0].patients == FILMS
    assert found.data_sets[0].pictures == 0


@pytest.mark.parametrize("way", COPIES)
def test_a_changed_copy_is_found_and_nothing_else(
    originals: list[Sample], phantoms: list[Array], way: str
) -> None:
    copied = [0, 7, 11]
    copies = [sample(COPIES[way](phantoms[i]), f"c{i}") for i in copied]
    found = audited(a=originals, b=copies)
    assert {(pair.one, pair.other) for pair in found.pairs} == {(i, FILMS + n) for n, i in enumerate(copied)}
    assert all(pair.kind == (PICTURE if way else PIXELS) for pair in found.pairs)
    assert {pair.turn for pair in found.pairs} == {way if way in TURNS else ""}
    assert counts(found)["pairs of different patients"] == 3


def test_two_films_are_enough(phantoms: list[Array]) -> None:
    alike = [sample(phantoms[0], "a"), sample(COPIES["all at once"](phantoms[0]), "b")]
    assert len(audited(x=alike).pairs) == 1
    assert audited(x=[alike[0], sample(phantoms[1], "c")]).pairs == ()
    assert audited(x=alike[:1]).pairs == ()


def test_files_and_pixels_are_told_apart_and_what_cannot_be_read_is_listed(
    phantoms: list[Array], tmp_path: Path
) -> None:
    names = ["one.png", "same.png", "slower.png", "other.png", "broken.png"]
    for name, film in zip(names, [phantoms[0], None, phantoms[0], phantoms[1], None], strict=True):
        if film is not None:
            settings = [cv2.IMWRITE_PNG_COMPRESSION, 1 if name == "slower.png" else 9]
            assert cv2.imwrite(str(tmp_path / name), film, settings)
    (tmp_path / "same.png").write_bytes((tmp_path / "one.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no film")
    found = audited(x=[Sample(id=name, patient="p", image=tmp_path / name) for name in names])
    assert [(pair.one, pair.other, pair.kind) for pair in found.pairs] == [(0, 1, FILE), (0, 2, PIXELS)]
    assert found.groups == ((0, 1, 2),)
    assert len(found.failures) == 1
    assert "broken.png" in found.failures[0]
    assert counts(found)["different pictures"] == 2
    assert any("1 films cannot be read" in said for said in sentences(found))


def test_what_stands_on_both_sides_of_a_split_or_of_data_sets_leaks(phantoms: list[Array]) -> None:
    films = [
        sample(phantoms[0], "a0", "anna", study="s1"),
        sample(phantoms[1], "a1", "anna", study="s1"),
        sample(phantoms[2], "b0", "ben"),
        sample(COPIES["JPEG"](phantoms[2]), "c0", "cleo"),
    ]
    between = audited(x=films[:1], y=films[1:])
    assert leaks(between) == between.data_sets
    assert [(one.pictures, one.patients, one.studies) for one in leaks(between)] == [(0, 1, 1)]
    assert "nih:x and nih:y share 1 patient, 1 study" in sentences(between)[0]
    for cleo, found in (("0", 1), ("test", 0)):
        split = make_split(films)
        split = replace(split, parts={"anna": "0", "ben": "test", "cleo": cleo})
        placed = listed({"nih:x": films}, split)
        leaking = audit(placed, gather(films), split=True)
        assert len(leaks(leaking)) == found
    assert any("The split holds" in said for said in sentences(leaking))


def test_a_copy_of_a_test_film_under_a_name_that_the_split_does_not_know_leaks(phantoms: list[Array]) -> None:
    """An outside set checked against frozen test films: what the split does not name is no safe place."""
    films = [sample(phantoms[0], "nih:1"), sample(phantoms[1], "nih:2")]
    for copied, strict in ((phantoms[0], True), (phantoms[1], False), (phantoms[2], False)):
        outside = sample(copied, "rsna:9")
        split = replace(make_split(films), parts={"nih:1": "test", "nih:2": "0"})
        placed = listed({"nih:x": films, "rsna:y": [outside]}, split)
        found = audit(placed, gather([*films, outside]), split=True)
        assert bool(leaks(found)) == strict
        assert (
            any("does not name share 1 picture with its test part" in one for one in sentences(found))
            == strict
        )


def test_copies_of_one_film_count_among_themselves_too(phantoms: list[Array]) -> None:
    # Each copy is paired with the first film alone, which lies in the other data set.
    copies = [
        sample(phantoms[0], "b", "ben"),
        sample(phantoms[0], "c", "cleo"),
        sample(phantoms[0], "a2", "anna"),
    ]
    found = audited(x=[sample(phantoms[0], "a", "anna")], y=copies)
    assert len(found.pairs) == 3
    assert counts(found)["pairs of different patients"] == 5  # of six, all but anna's own
    assert any(said.startswith("5 pairs show one picture under the names") for said in sentences(found))
    assert any(said.startswith("Pairs within one data set: 3.") for said in sentences(found))


def test_the_command_draws_the_line_where_the_library_does() -> None:
    given = inspect.signature(data_audit).parameters
    assert given["least"].default == LEAST


def test_patients_who_share_a_film_share_a_part() -> None:
    films = [Sample(id=f"f{i}", patient=f"p{i:03d}", image=Path("x.png")) for i in range(300)]
    pairs = [(f"p{i:03d}", f"p{i + 1:03d}") for i in range(0, 120, 2)] + [
        ("p000", "stranger"),
        ("p200", "stranger"),
    ]
    split = make_split(films, together=pairs)
    assert set(split.parts) == {film.patient for film in films}
    assert all(split.parts[one] == split.parts[other] for one, other in pairs if other != "stranger")
    assert split.parts["p000"] == split.parts["p200"]  # tied by a patient who is not here
    assert make_split(films, together=[]) == make_split(films)


def test_ties_are_followed_to_their_end() -> None:
    assert tied([("c", "d"), ("b", "c"), ("x", "y"), ("a", "d"), ("z", "z")]) == {
        **dict.fromkeys("abcd", "a"),
        **dict.fromkeys("xy", "x"),
        "z": "z",
    }


def folder(place: Path, films: dict[str, Array], patients: dict[str, str]) -> str:
    place.mkdir()
    rows = ["path,patient,Edema"]
    for name, film in films.items():
        assert cv2.imwrite(str(place / name), film)
        rows.append(f"{name},{patients[name]},{len(rows) % 2}")
    (place / "films.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return f"csv:{place / 'films.csv'}"


def test_a_csv_tells_studies(phantoms: list[Array], tmp_path: Path) -> None:
    name = folder(tmp_path / "set", {"a.png": phantoms[0]}, {"a.png": "p"})
    assert open_data(name)[0].study is None
    table = tmp_path / "set" / "films.csv"
    table.write_text("path,study\na.png,s1\n", encoding="utf-8")
    assert open_data(name)[0].study == "set:s1"
    assert set(open_data(name)[0].labels) == set()


def test_the_command_tells_writes_and_ties_what_it_found(phantoms: list[Array], tmp_path: Path) -> None:
    one = folder(
        tmp_path / "one", {f"{i}.png": phantoms[i] for i in range(6)}, {f"{i}.png": f"p{i}" for i in range(6)}
    )
    two = folder(
        tmp_path / "two", {"x.jpg": phantoms[3], "y.png": phantoms[9]}, {"x.jpg": "unknown", "y.png": "q"}
    )
    out, split = tmp_path / "out", tmp_path / "split.csv"
    run = CliRunner().invoke(app, ["data", "audit", one, two, "--out", str(out), "--pictures"])
    assert run.exit_code == 0, run.output
    assert "pairs of the same picture\t1" in run.output
    with (out / "duplicates.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["film"], row["other film"], row["same patient"]) == ("one:3.png", "two:x.jpg", "no")
    assert json.loads((out / "audit.json").read_text(encoding="utf-8"))["counts"]["films"] == 8
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "share 1 picture" in page
    assert CliRunner().invoke(app, ["data", "audit", one, two, "--strict"]).exit_code == 1
    assert CliRunner().invoke(app, ["data", "audit", one, "--strict"]).exit_code == 0
    assert read_together(out / "duplicates.csv") == [("one:p3", "two:unknown")]
    arguments = [
        "data",
        "split",
        one,
        two,
        "--folds",
        "2",
        "--out",
        str(split),
        "--together",
        str(out / "duplicates.csv"),
    ]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    parts = read_split(split).parts
    assert parts["one:p3"] == parts["two:unknown"]
    run = CliRunner().invoke(app, ["data", "audit", one, two, "--split", str(split), "--strict"])
    assert run.exit_code == 0, run.output
    assert "The split holds" in run.output
    assert "this split keeps them together" in run.output


def test_a_table_that_is_no_audits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("film,other\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv: no column 'patient'; give the duplicates\.csv"):
        read_together(tmp_path / "x.csv")


def test_a_data_set_with_a_bright_frame_is_told_by_it_and_labels_that_go_with_it_are_named() -> None:
    films: dict[str, list[Sample]] = {}
    for i in range(120):
        film = draw(i, size=64, findings=[]).pixels.copy()
        if framed := i % 2 == 0:
            film[:2] = film[-2:] = 255
        ill = float(framed if i % 5 else not framed)
        films.setdefault(f"nih:{'framed' if framed else 'plain'}", []).append(
            replace(sample(film, f"f{i}"), labels={"Edema": ill})
        )
    placed = listed(films)
    figures = told(placed, gather([film.sample for film in placed]), repeats=100)
    plain = [one for one in figures if one.condition == PLAIN]
    assert len(plain) == 1
    assert plain[0].low > 0.95
    (alone,) = [one for one in figures if one.measure == "AUROC of the group alone"]
    assert abs(alone.value - 0.5) == pytest.approx(0.3, abs=0.01)


def test_looks_leave_black_borders_out() -> None:
    film = draw(0, size=256).pixels.astype(np.float32) / 255
    padded = cv2.copyMakeBorder(film, 30, 0, 60, 60, cv2.BORDER_CONSTANT, value=0)
    difference = look_of(padded).astype(int) - look_of(film)
    assert np.abs(difference).mean() < 3


def test_films_that_two_nih_folders_share_are_found_without_their_names(films: Path) -> None:
    small, large = (open_data(f"nih:{films / name}") for name in ("nih14", "nih14-256px"))
    shared = {one.id for one in small} & {one.id for one in large}
    first = sorted(shared)[::12][:40]
    # Beside the shared films, others of the same patients: those are the films to be confused with.
    patients = {one.patient for one in small if one.id in first}
    some = [one for one in small if one.patient in patients and (one.id in first or one.id not in shared)][
        :110
    ]
    more = [one for one in large if one.id in first]
    found = audit(listed({"nih:a": some, "nih:b": more}), gather([*some, *more]))
    assert len(more) == 40
    assert found.named_alike == len({one.id for one in some} & set(first))
    assert found.of_one_picture >= 0.95 * found.named_alike
    assert len(found.pairs) <= found.named_alike + 1


def test_a_border_is_cut_off_only_where_a_quarter_of_each_side_shows_something() -> None:
    strip = np.zeros((200, 1000), np.float32)
    strip[:, 100:160] = 1  # more than a quarter of the rows' number, less than one of the columns'
    assert (look_of(strip) == 0).any()
    strip[:, 100:400] = 1
    assert (look_of(strip) == 255).all()
