"""Which films a verb works on: the first of several copies, of a part, and with a word of warning."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer

from hilum.card import read_card
from hilum.commands.films import UNSPLIT, choose
from hilum.commands.shared import unreadable
from hilum.data import open_data
from hilum.data.phantom import write
from hilum.data.split import Split, read_split, write_split
from hilum.runtime import find

CARD = read_card(find("hilum-six"))


@pytest.fixture
def nih(tmp_path: Path) -> str:
    """Three films of two patients in NIH's layout."""
    heading = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = [f"0000000{who}_00{n}.png,No Finding,0,{who},50,M,PA" for who, n in ((1, 0), (1, 1), (2, 0))]
    write(tmp_path / "films", count=3, seed=0)
    (tmp_path / "films" / "Data_Entry_2017_v2020.csv").write_text("\n".join([heading, *rows]) + "\n")
    for path, row in zip(sorted((tmp_path / "films" / "images").iterdir()), rows, strict=True):
        path.rename(path.with_name(row.partition(",")[0]))
    return f"nih:{tmp_path / 'films'}"


def test_a_model_may_know_films_of_the_kind_it_learned_from(
    nih: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = choose([nih], [CARD], split=None)
    assert len(chosen.samples) == 3 and set(chosen.sources.values()) == {"nih:films"}
    assert chosen.about["warnings"] == [UNSPLIT]
    assert capsys.readouterr().err == UNSPLIT + "\n"
    assert choose(["phantom:2"], [CARD], split=None).about["warnings"] == []


def test_films_that_could_not_be_read_are_told_and_are_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert unreadable({"a": "a.png: truncated", "b": "b\x1b.png: no such file"}.values()) == 1
    assert capsys.readouterr().out == "unreadable\ta.png: truncated\nunreadable\tb\\x1b.png: no such file\n"
    assert unreadable([]) == 0 and capsys.readouterr().out == ""


def test_a_card_names_data_sets_without_the_folders_they_lie_in(nih: str, tmp_path: Path) -> None:
    """Cards are published; evaluations stay with their films and tell two of one name apart."""
    shutil.copytree(tmp_path / "films", tmp_path / "more" / "films")
    more = f"nih:{tmp_path / 'more' / 'films'}"
    assert choose([nih], [], split=None).data == "nih:films"
    chosen = choose([nih, more], [], split=None)
    assert chosen.data == "nih:films + nih:films" and chosen.about["data"] == [nih, more]


def test_a_card_names_the_part_and_the_split(nih: str, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    write_split(Split(parts={"nih:1": "0", "nih:2": "test"}, sha256=""), file)
    sha256 = read_split(file).sha256
    found = [choose([nih], [], split=file, part=part).data for part in ("tune", "test")]
    assert found == [f"nih:films, {which} of split {sha256[:12]}" for which in ("tuning fold 0", "test part")]


def test_parts_are_a_splits(nih: str, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    write_split(Split(parts={"nih:1": "0", "nih:2": "test"}, sha256=""), file)
    assert [len(choose([nih], [], split=file, part=part).samples) for part in (None, "tune")] == [1, 2]
    chosen = choose([nih], [CARD], split=file, default="tune")
    assert chosen.about["part"] == "tune"
    (warning,) = chosen.about["warnings"]  # type: ignore[misc]
    assert "trained by another split" in warning
    for wrong in ({"part": "tune"}, {"fold": 1}):
        with pytest.raises(typer.BadParameter, match="needs --split"):
            choose([nih], [], split=None, **wrong)  # type: ignore[arg-type]
    with pytest.raises(typer.BadParameter, match=r"no fold 9 in .*; choose from 0"):
        choose([nih], [], split=file, part="tune", fold=9)
    assert len(choose([nih], [], split=file, part="test", fold=9).samples) == 1  # which is of no fold
    for informed, part, why in (
        (("any",), "test", "its start or a teacher, trained by another split, may have learned"),
        (("any",), "tune", "its start or a teacher, trained by another split, may have learned"),
        (("0",), "tune", "its start or a teacher learned from these films"),
        (("0",), "test", ""),
        ((), "tune", ""),
    ):
        known = {"split_sha256": str(chosen.about["split_sha256"]), "informed": informed}
        warnings = choose([nih], [CARD.model_copy(update=known)], split=file, part=part).about["warnings"]
        assert [why in one for one in warnings] == [True] * bool(why)  # type: ignore[attr-defined]
    with pytest.raises(typer.BadParameter, match="must be one of test, tune, train"):
        choose([nih], [], split=file, part="half")


def test_a_model_of_another_hospitals_films_is_under_no_suspicion(tmp_path: Path) -> None:
    """Nobody who calibrates a shipped model on films of their own has a split that it was trained by."""
    write(tmp_path / "films", count=4, seed=0)
    ours, file = f"csv:{tmp_path / 'films' / 'labels.csv'}", tmp_path / "split.csv"
    write_split(Split(parts=dict.fromkeys((one.patient for one in open_data(ours)), "test"), sha256=""), file)
    assert choose([ours], [CARD], split=file).about["warnings"] == []
    taught: list[dict[str, object]] = [
        {"weights": "more 0.1.0, SHA-256 0123"},
        {"config": {"teachers": ["runs/more"]}},
    ]
    for told in taught:
        (warning,) = choose([ours], [CARD.model_copy(update=told)], split=file).about["warnings"]  # type: ignore[misc]
        assert warning == "hilum-six: trained by another split, it may have learned from these films"


def test_a_model_that_was_calibrated_on_the_films_is_told(nih: str, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    write_split(Split(parts={"nih:1": "0", "nih:2": "test"}, sha256=""), file)
    sha256 = read_split(file).sha256

    def told(on: str, split: Path | None = file, part: str | None = None) -> bool:
        fitted = {
            "Edema": CARD.thresholds["Edema"].model_copy(update={"films": f"3 films of 2 patients, {on}"})
        }
        card = CARD.model_copy(update={"thresholds": CARD.thresholds | fitted, "split_sha256": sha256})
        warnings = choose([nih], [card], split=split, part=part).about["warnings"]
        return any(f"hilum-six: calibrated on {on}, perhaps these films" in one for one in warnings)  # type: ignore[attr-defined]

    assert told("nih:films") and told("nih:films", split=None)
    assert not told("nih:films-2") and not told("csv:films", split=None)
    tuning = f"nih:films, tuning fold 0 of split {sha256[:12]}"
    assert told(tuning, part="tune") and not told(tuning) and not told(tuning, split=None)


def test_data_sets_that_would_be_called_alike_stay_apart(tmp_path: Path) -> None:
    """As every import's films.csv: by data set their films would be one group."""
    for name in ("a", "b"):
        write(tmp_path / name, count=1, seed=0)
        (film,) = (tmp_path / name / "images").iterdir()
        (tmp_path / name / "films.csv").write_text(f"path,Edema\nimages/{film.name},1\n")
    names = [f"csv:{tmp_path / name / 'films.csv'}" for name in ("a", "b")]
    chosen = choose(names, [], split=None)
    assert sorted(chosen.sources.values()) == chosen.about["data"] == names
