"""Which files are taken for films, what results are named after, and reading a csv."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.errors import ConfigError, DataError, ReadError
from hilum.reading.files import by_stem, film_paths, inputs, read_csv
from hilum.reading.reader import read

OUT = Path("another") / "place"


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_every_file_but_the_hidden_is_found_in_order(tmp_path: Path) -> None:
    names = ["b.dcm", "a/z.png", "a/no_ending", ".DS_Store", ".git/a.png", "a/.b/c.png"]
    assert film_paths(lay(tmp_path, *names)) == [
        tmp_path / name for name in ("a/no_ending", "a/z.png", "b.dcm")
    ]


def test_a_folder_inside_a_hidden_one_is_still_a_folder(tmp_path: Path) -> None:
    folder = lay(tmp_path / ".scratch" / "films", "a.png")
    assert film_paths(folder) == [folder / "a.png"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; check the path"):
        film_paths(tmp_path / "nowhere")


def test_a_link_that_leads_nowhere_is_not_lost_unseen(tmp_path: Path) -> None:
    folder = lay(tmp_path / "films", "a.png")
    (folder / "b.png").symlink_to(tmp_path / "gone.png")
    assert film_paths(folder) == [folder / "a.png", folder / "b.png"]
    with pytest.raises(ReadError, match="no such file"):
        read(folder / "b.png")


def test_a_folder_that_cannot_be_opened_is_told_as_a_film_and_stops_no_other(
    tmp_path: Path, shut: Callable[[str], None]
) -> None:
    folder = lay(tmp_path / "films", "a.png", "lost+found/b.png")
    shut("lost+found")
    assert inputs([folder], tmp_path / "out") == {
        "a.png": folder / "a.png",
        "lost+found": folder / "lost+found",
    }
    with pytest.raises(ReadError, match="permission denied"):
        read(folder / "lost+found")
    with pytest.raises(DataError, match="Permission denied; let this user open it"):
        film_paths(folder)


def test_a_file_that_may_not_be_looked_at_is_left_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay(tmp_path / "films", "a.png", "b.png")
    stat = os.stat

    def denied(path: str | Path, **how: bool) -> os.stat_result:
        if Path(path).name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", denied)
    assert film_paths(folder) == [folder / "a.png", folder / "b.png"]
    assert list(inputs([folder], OUT)) == ["a.png", "b.png"]
    assert inputs([folder / "b.png"], OUT) == {"b.png": folder / "b.png"}
    with pytest.raises(ReadError, match="permission denied"):
        read(folder / "b.png")


def test_an_empty_folder_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[object] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *how, **more: walks.append(how) or walk(*how, **more))
    for name, why in (("empty", "holds no files"), ("texts", "no file here has an ending")):
        folder = lay(tmp_path, f"{name}/.hidden" if name == "empty" else f"{name}/a.txt") / name
        with pytest.raises(ConfigError, match=why):
            inputs([folder], OUT)
    with pytest.raises(ConfigError, match="all of it lies in the folder for results"):
        inputs([tmp_path / "texts"], tmp_path)
    assert len(walks) == 3


def test_stems_lead_to_films_and_must_be_unique(tmp_path: Path) -> None:
    assert by_stem(lay(tmp_path, "a.png", "sub/b.v2.dcm")) == {
        "a": tmp_path / "a.png",
        "b.v2": tmp_path / "sub" / "b.v2.dcm",
    }
    with pytest.raises(DataError, match=r"sub/a\.jpg: a\.png has the same name; keep one of them"):
        by_stem(lay(tmp_path, "sub/a.jpg"))
    assert by_stem(tmp_path, [".png", ".dcm"]) == {
        "a": tmp_path / "a.png",
        "b.v2": tmp_path / "sub" / "b.v2.dcm",
    }


def test_results_are_named_after_a_films_place_in_its_folder(tmp_path: Path) -> None:
    north, south = lay(tmp_path / "north", "a.dcm", "ward/a.dcm"), lay(tmp_path / "south", "a.dcm")
    assert list(inputs([north], OUT)) == ["a.dcm", "ward/a.dcm"]
    assert inputs([north], OUT)["ward/a.dcm"] == north / "ward" / "a.dcm"
    assert list(inputs([north, south], OUT)) == ["north/a.dcm", "north/ward/a.dcm", "south/a.dcm"]
    assert list(inputs([north / "a.dcm", south], OUT)) == ["a.dcm", "south/a.dcm"]
    assert inputs([], OUT) == {}


def test_two_inputs_of_one_name_would_overwrite_each_other(tmp_path: Path) -> None:
    lay(tmp_path, "one/films/a.dcm", "two/films/a.dcm")
    for pair in (["one/films/a.dcm", "two/films/a.dcm"], ["one/films", "two/films"], ["one", "one"]):
        with pytest.raises(
            ConfigError, match=r"a\.dcm and .*a\.dcm would write the same files; run them apart"
        ):
            inputs([tmp_path / name for name in pair], OUT)


def test_missing_and_empty_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such file or folder; check the path"):
        inputs([tmp_path / "nowhere"], OUT)
    with pytest.raises(ConfigError, match="holds no files"):
        inputs([lay(tmp_path, ".hidden")], OUT)


def test_what_is_no_film_by_its_name_is_passed_over_in_a_folder_and_taken_where_it_is_named(
    tmp_path: Path,
) -> None:
    folder = lay(
        tmp_path, "DICOMDIR", "Thumbs.db", "labels.CSV", "a.dcm", "1.2.840.55", "read.me", "sub/notes.txt"
    )
    passed: list[str] = []
    assert list(inputs([folder], OUT, passed=passed.append)) == ["1.2.840.55", "a.dcm", "read.me"]
    assert sorted(passed) == [".csv", ".db", ".txt", "DICOMDIR"]
    assert list(inputs([folder / "labels.CSV"], OUT)) == ["labels.CSV"]
    with pytest.raises(ConfigError, match=r"sub: no file here has an ending that films have"):
        inputs([folder / "sub"], OUT)


def test_results_among_the_films_are_passed_over_and_the_films_beside_them_are_not(tmp_path: Path) -> None:
    made = ("b.png.mask.png", "b.png.overlay.png", "b.png.json", "a.dcm.seg.dcm", "predictions.csv")
    folder = lay(tmp_path, "b.png", *made, "out/ward/b.dcm.overlay.png", "out/c.png")
    passed: list[str] = []
    assert list(inputs([folder], OUT, passed=passed.append)) == ["b.png", "out/c.png"]
    assert sorted(passed) == [".csv", ".json", ".mask.png", ".overlay.png", ".overlay.png", ".seg.dcm"]


def test_a_csv_gives_its_heading_and_the_line_of_every_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffname,note\r\na,"two\r\nlines"\r\n\r\nb,\r\n'.encode())
    columns, rows = read_csv(path)
    assert columns == ["name", "note"]
    assert rows == [(3, {"name": "a", "note": "two\r\nlines"}), (5, {"name": "b", "note": ""})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2,3\n", "line 2: not 2 cells as the heading has; correct the row"),
        (b"a,b\n1,2\n1\n", "line 3: not 2 cells"),
        (b"a\nM\xfcller\n", "give a csv in UTF-8"),
        (b"\xff\xfea\x00\n\x00", "give a csv in UTF-8"),  # UTF-16, as spreadsheets write "Unicode text"
    ],
)
def test_a_malformed_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "a.csv")


def test_a_csv_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Is a directory"):
        read_csv(tmp_path)
