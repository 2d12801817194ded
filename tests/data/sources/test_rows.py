"""Tables as data sets ship them: long cells, endless lines, and what an import leaves alone."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.data.sources.rows import by_name, rows
from hilum.errors import DataError
from hilum.reading import files


def test_a_report_of_a_hundred_thousand_characters_over_many_lines_is_one_cell(tmp_path: Path) -> None:
    report = "clear, dry\n" * 9_000
    (tmp_path / "films.csv").write_text(f'path,report\r\na.png,"{report}"\r\nb.png,none\r\n', newline="")
    found = [row for _, row in rows(tmp_path / "films.csv", ("path", "report"), whose="NIH")]
    assert [row["path"] for row in found] == ["a.png", "b.png"]
    assert found[0]["report"] == report


@pytest.mark.parametrize("name", ["films.csv", "films.csv.gz"])
def test_an_endless_line_is_refused_before_it_fills_the_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LONGEST", 1000)
    text = b"path,Edema\n" + b"a.png," * 200
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(DataError, match=r"films\.csv.*: a line of over 1,000 characters; download NIH.s"):
        list(rows(tmp_path / name, ("path",), whose="NIH"))
    with pytest.raises(DataError, match=r"films\.csv.*: a line of over 1,000 characters; give a csv"):
        files.read_csv(tmp_path / name)


def test_a_quote_that_never_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text('path\n"' + "a.png\n" * 100_000)
    with pytest.raises(DataError, match=r"films\.csv: truncated or damaged"):
        list(rows(tmp_path / "films.csv", ("path",), whose="NIH"))


def test_a_folder_below_that_is_closed_is_told(tmp_path: Path, shut: Callable[[str], None]) -> None:
    (tmp_path / "ward").mkdir()
    (tmp_path / "b.PNG").touch()
    (tmp_path / "a.txt").touch()
    assert by_name(tmp_path, [".png"]) == {"b.PNG": tmp_path / "b.PNG"}
    shut("ward")
    with pytest.raises(DataError, match="ward: Permission denied; let this user open it"):
        by_name(tmp_path, [".png"])


def test_importing_leaves_the_csv_module_as_it_is() -> None:
    code = "import csv; old = csv.field_size_limit(); import hilum.data; print(csv.field_size_limit() == old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
