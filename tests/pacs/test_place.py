"""The place holds what was written, for one worker and one archive, and tells it to people."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hilum.errors import ConfigError
from hilum.pacs.events import key
from hilum.pacs.place import Place
from hilum.pacs.records import Film, Result
from hilum.pacs.table import table


def film(number: int, refusal: str = "") -> Film:
    return Film(study="1.2", series="1.3", sop=f"1.4.{number}", refusal=refusal)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "place.sqlite"


def test_films_and_the_feeds_place_are_taken_together_and_each_film_once(path: Path) -> None:
    with Place(path, own=True) as place:
        assert place.offer([film(1), film(2), film(1)], {"changes": "7"}) == 2
        assert place.offer([film(2), film(3, "not a chest")], {"changes": "9"}) == 1
    with Place(path) as place:
        assert place.counts() == {"queued": 2, "done": 0, "refused": 1, "failed": 0}
        assert place.marks() == {"changes": "9"}


def test_a_feed_that_fails_halfway_moves_nothing(path: Path) -> None:
    def films() -> object:
        yield film(1)
        raise RuntimeError

    with Place(path, own=True) as place:
        with pytest.raises(RuntimeError):
            place.offer(films(), {"changes": "7"})  # type: ignore[arg-type]
        assert place.counts()["queued"] == 0
        assert place.marks() == {}


def test_turns_come_in_order_and_what_is_put_off_waits(path: Path) -> None:
    with Place(path, own=True) as place:
        place.offer([film(n) for n in range(4)], {})
        assert [one.sop for one in place.due(2)] == ["1.4.0", "1.4.1"]
        assert [one.sop for one in place.due(2, ["1.4.0"])] == ["1.4.1", "1.4.2"]
        place.later("1.4.0", 60, "no answer")
        assert [one.sop for one in place.due(9)] == ["1.4.1", "1.4.2", "1.4.3"]
        for number in (1, 2, 3):
            place.settle(f"1.4.{number}", "done")
        assert not place.due(9)
        assert 50 < (place.next_due() or 0) - time.time() <= 60


def test_a_result_is_never_taken_for_a_film(path: Path) -> None:
    with Place(path, own=True) as place:
        place.offer([film(1)], {})
        place.stored("1.4.1", [Result(form="sc", study="1.2", sop="1.4.99", data=b"")])
        assert place.offer([film(99)], {}) == 0


def test_two_workers_do_not_share_a_place_but_anybody_may_look(path: Path) -> None:
    with Place(path, own=True) as place:
        with pytest.raises(ConfigError, match="another worker"):
            Place(path, own=True)
        place.offer([film(1)], {})
        with Place(path) as looker:
            assert looker.counts()["queued"] == 1
    Place(path, own=True).close()


def test_the_lock_ends_with_the_process_that_is_killed(path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from hilum.pacs.place import Place
from hilum.pacs.records import Film
place = Place(Path({str(path)!r}), own=True)
place.offer([Film(study="1.2", series="1.3", sop="1.4.1")], {{"changes": "3"}})
place.begin("1.4.1")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    with Place(path, own=True) as place:
        assert place.marks()["changes"] == "3"
        assert place.begin("1.4.1") == 2


def test_a_place_belongs_to_one_archive(path: Path) -> None:
    with Place(path, own=True) as place:
        place.belong("https://one/dicom-web")
        place.belong("https://one/dicom-web")
        with pytest.raises(ConfigError, match="belongs to the PACS https://one/dicom-web"):
            place.belong("https://two/dicom-web")


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 9, b""])
def test_another_file_is_no_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"place\.sqlite"):
        Place(path)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("own", [False, True])
def test_another_programs_database_is_left_as_it_is(path: Path, own: bool, version: int) -> None:
    other = sqlite3.connect(path)
    other.executescript(f"CREATE TABLE films_of_the_week (title); PRAGMA user_version = {version};")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a worker's state file"):
        Place(path, own=own)
    assert path.read_bytes() == before


def test_a_missing_place_and_one_of_a_later_version_are_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Place(path)
    Place(path, own=True).close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(ConfigError, match="not a worker's state file of this version"):
        Place(path, own=True)
    with pytest.raises(ConfigError, match="place"):
        Place(tmp_path, own=True)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_it_is_for_this_user_alone(path: Path) -> None:
    with Place(path, own=True) as place:
        place.offer([film(1)], {})
        assert {
            file.stat().st_mode & 0o077
            for file in path.parent.glob("place.sqlite*")
            if ".lock" not in file.name
        } == {0}


def test_the_table_tells_counts_and_what_needs_a_look(path: Path) -> None:
    with Place(path, own=True) as place:
        place.offer([film(n) for n in range(5)] + [film(5, "another body part")], {})
        place.settle("1.4.0", "done")
        place.settle("1.4.1", "done", "turned")
        place.begin("1.4.2")
        place.later("1.4.2", 60, "status 500")
        place.settle("1.4.3", "failed", "crashed")
        text = table(place)
    lines = [line.split("\t") for line in text.splitlines()]
    assert lines[:4] == [
        ["queued", "2"],
        ["done", "2", "1 of them rejected"],
        ["refused", "1"],
        ["failed", "1"],
    ]
    told = {cells[5]: cells for cells in lines[6:]}
    assert told.keys() == {"1.4.2", "1.4.3", "1.4.5"}
    assert told["1.4.2"][:3] == [key("1.4.2"), "queued", "1"]
    assert told["1.4.3"][4] == "crashed"
