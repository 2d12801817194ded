"""Predicting a folder: killed at every step, on a full disk, twice at once, over odd names and links."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from hilum import dicom
from hilum.bulk import batch
from hilum.data.phantom import draw
from hilum.errors import ConfigError, DataError, HilumError, ReadError
from hilum.labels import SIX
from hilum.pipeline import Pipeline
from hilum.reading.files import film_paths, inputs
from hilum.types import Report

FORMS = ("csv", "json", "mask")
START = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"


def hilum(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", START, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def pipeline(judged: Callable[..., Report]) -> Pipeline:
    """One that needs no network: outlines as drawn, scores made up; a file that is no DICOM is an error."""
    known: dict[bytes, Report] = {}

    def stream(sources: Iterable[Path], *, workers: int = 0) -> Iterator[Report | HilumError]:
        del workers
        for source in sources:
            try:
                data = source.read_bytes()
                known[data] = known.get(data) or judged(data)
                yield known[data]
            except ReadError as error:
                yield error
            except OSError as error:
                yield ReadError(str(source), str(error.strerror), "check the path")

    return cast(Pipeline, SimpleNamespace(labels=SIX, stream=stream, made_of="these models"))


@pytest.fixture
def films(tmp_path: Path, dicom_film: Callable[..., bytes]) -> Path:
    folder = tmp_path / "films"
    (folder / "ward").mkdir(parents=True)
    for name in ("a.dcm", "b.dcm", "ward/c.dcm"):
        (folder / name).write_bytes(dicom_film())
    (folder / "broken.dcm").write_bytes(b"rubbish")
    return folder


def predict(pipeline: Pipeline, films: Path, out: Path, done: Callable[..., None] = lambda *_: None) -> bool:
    return batch.run(pipeline, inputs([films], out), out, FORMS, done=done)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def visible(out: Path) -> dict[str, bytes]:
    """Every file that is no draft; each must be whole."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")):
        found[path.relative_to(out).as_posix()] = path.read_bytes()
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".png":
            assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    return found


def test_wherever_predict_is_killed_files_are_whole_and_a_rerun_completes_the_table(
    films: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("killed_predict.py")
    command = [sys.executable, str(script), str(films), str(tmp_path / "outs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # steps at which it was killed


def test_an_interrupted_run_goes_on_and_begins_anew_where_films_models_or_forms_are_others(
    pipeline: Pipeline, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hilum.reporting.report.now", lambda: "always"
    )  # the JSON of an error tells when it came
    out, whole = tmp_path / "out", tmp_path / "whole"

    def run(mark: str = "the same", forms: tuple[str, ...] = FORMS, stop: int = 9) -> int:
        """How many films were taken over from the run before; ends by hand after so many films."""
        told: list[batch.Outcome] = []

        def done(one: batch.Outcome) -> None:
            told.append(one)
            if len(told) == stop:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            batch.run(pipeline, inputs([films], out), out, forms, mark=mark, done=done)
        return sum(one.earlier for one in told)

    predict(pipeline, films, whole)
    assert run(stop=2) == 0
    with (out / "predictions.csv").open("a", encoding="utf-8") as file:
        file.write("ward/c.dcm,ok,0.3")  # a line that was cut off
    assert run(stop=3) == 2 and run() == 3
    assert visible(out) == visible(whole)
    assert run() == 0  # a run that came to its end is done again
    for other in ({"mark": "changed films"}, {"forms": ("csv", "json")}):
        run(stop=2)
        assert run(**other) == 0, other  # type: ignore[arg-type]
    run(stop=2)
    pipeline.made_of = "other models"  # type: ignore[misc]
    assert run() == 0
    run(stop=2)
    (out / "predictions.csv").write_text("file,status\na.dcm,ok\n", encoding="utf-8")  # somebody's own
    assert run() == 0
    assert visible(out) == visible(whole)
    run(stop=2)
    run(forms=("json",))  # without a table, which writes over the others' files
    assert run() == 0


def test_an_interrupted_run_goes_on_only_with_the_films_that_stand_where_they_stood(
    pipeline: Pipeline, films: Path, tmp_path: Path
) -> None:
    """What could not be listed is one row, and may be several films the next time."""
    out, told = tmp_path / "out", list[batch.Outcome]()
    listed = inputs([films], out)

    def done(one: batch.Outcome) -> None:
        told.append(one)
        if len(told) == 2:
            raise KeyboardInterrupt

    broken = {"a.tar": films / "broken.dcm"}
    with pytest.raises(KeyboardInterrupt):
        batch.run(pipeline, broken | listed, out, FORMS, mark="the same", done=done)
    told.append(told[0])  # no more interruptions
    batch.run(pipeline, listed, out, FORMS, mark="the same", done=done)
    assert [row["file"] for row in table(out)] == list(listed)
    assert not any(one.earlier for one in told)


def test_drafts_that_a_killed_run_left_go_with_a_later_one(
    pipeline: Pipeline, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "ward").mkdir(parents=True)
    old, young = out / "ward" / f".{'a' * 32}.tmp", out / f".{'b' * 32}.tmp"
    other = out / ".mine.tmp"
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    predict(pipeline, films, out)
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_a_second_process_is_refused_while_the_first_writes_and_hurts_nothing(
    pipeline: Pipeline, films: Path, tmp_path: Path
) -> None:
    out, refused = tmp_path / "out", []

    def second(*_: object) -> None:
        done = hilum("predict", films / "a.dcm", "--out", out, "--as", "csv") if not refused else None
        if done:
            refused.append((done.returncode, done.stderr))

    predict(pipeline, films, out, second)
    assert refused[0][0] == 2 and "another process writes its results there" in refused[0][1]
    assert [row["file"] for row in table(out)] == ["a.dcm", "b.dcm", "broken.dcm", "ward/c.dcm"]
    predict(pipeline, films, out)  # nothing is held any more
    assert len(table(out)) == 4


@pytest.mark.parametrize("room", range(0, 9, 2))
def test_a_disk_that_fills_up_stops_the_run_keeps_what_is_whole_and_a_rerun_completes_it(
    room: int, pipeline: Pipeline, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, writes = tmp_path / "out", Path.write_bytes, 0

    def full(path: Path, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes > room:
            real(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        if room < 8:
            with pytest.raises(ConfigError, match="No space left on device; make room"):
                predict(pipeline, films, out)
    left = visible(out)
    for row in table(out) if "predictions.csv" in left else []:
        assert f"{row['file']}.json" in left
    assert not [path for path in out.rglob(".*") if path.is_file()]  # no half of a file takes room
    predict(pipeline, films, out)
    assert len(table(out)) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_under_the_table_is_one_line_and_no_success(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "film.png"), draw(1, size=128).pixels)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").symlink_to("/dev/full")
    done = hilum("predict", tmp_path / "film.png", "--out", tmp_path / "out", "--as", "csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "film.png"), draw(1, size=128).pixels)
    for out in ("/proc/self/task", "/proc/none/here"):  # where not even root may write
        done = hilum("predict", tmp_path / "film.png", "--out", out, "--as", "csv")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "check the path and the disk" in done.stderr


def test_links_that_run_in_circles_or_lead_out_and_what_is_no_file(
    pipeline: Pipeline, films: Path, tmp_path: Path, dicom_film: Callable[..., bytes]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.dcm").write_bytes(dicom_film())
    (films / "circle").symlink_to("circle")
    (films / "up").symlink_to(films, target_is_directory=True)
    (films / "out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (films / "linked.dcm").symlink_to(tmp_path / "elsewhere" / "d.dcm")
    (films / "gone.dcm").symlink_to(tmp_path / "nowhere")
    (films / "endless.dcm").symlink_to("/dev/zero")
    os.mkfifo(films / "pipe.dcm")
    predict(pipeline, films, tmp_path / "out")
    # A link to a film is a film, one that leads nowhere a film that cannot be read; links to folders and what
    # is no file are passed over.
    assert {row["file"]: row["status"] for row in table(tmp_path / "out")} == {
        "a.dcm": "ok", "b.dcm": "ok", "broken.dcm": "error", "circle": "error", "gone.dcm": "error",
        "linked.dcm": "ok", "ward/c.dcm": "ok",
    }  # fmt: skip
    (tmp_path / "round").symlink_to("round")
    done = hilum("predict", films, "--out", tmp_path / "round")
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "not followed: links to folders, 2; give those folders themselves" in done.stderr
    done = hilum("predict", films / "circle", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "no such file" in done.stderr


def test_results_replace_a_link_and_never_write_through_it(
    pipeline: Pipeline, films: Path, tmp_path: Path
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious", encoding="utf-8")
    out.mkdir()
    (out / "a.dcm.json").symlink_to(victim)
    predict(pipeline, films, out)
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not (out / "a.dcm.json").is_symlink()


def test_a_folder_that_cannot_be_opened_is_told_and_not_passed_over(
    pipeline: Pipeline, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def locked(path: Any) -> Any:
        if Path(path).name == "ward":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", locked)
    predict(pipeline, films, tmp_path / "out")
    assert {row["file"]: row["status"] for row in table(tmp_path / "out")} == {
        "a.dcm": "ok", "b.dcm": "ok", "broken.dcm": "error", "ward": "error",
    }  # fmt: skip
    with pytest.raises(DataError, match="ward: Permission denied; let this user open it"):
        film_paths(films)


NAMES = (
    "a\nb.png",
    "\x1b[31mred.png",
    "\x1b]0;title\x07.png",
    "=1+1.png",
    " .png",
    "a..png",
    "caf\udce9.png",
)


def test_names_command_no_terminal_and_lead_nowhere(tmp_path: Path) -> None:
    folder, out = tmp_path / "films", tmp_path / "out"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(b"rubbish")
    done = hilum("predict", folder, "--out", out)
    assert done.returncode == 1
    assert all(line.isprintable() for line in done.stderr.splitlines())
    assert done.stderr.count("\n") == len(NAMES)
    assert len(table(out)) == len(NAMES)
    written = {path.name for path in out.iterdir()}
    assert written == {"predictions.csv", *(f"{name}.json" for name in NAMES)}
    assert {path.name for path in tmp_path.iterdir()} == {"films", "out"}


@pytest.mark.parametrize(("length", "told"), [(248, True), (252, False)])
def test_a_film_whose_name_is_too_long_for_a_result_is_an_error_in_each_of_its_results(
    pipeline: Pipeline, films: Path, tmp_path: Path, length: int, told: bool
) -> None:
    name = "x" * (length - 4) + ".dcm"
    (films / "a.dcm").rename(films / name)
    predict(pipeline, films, tmp_path / "out")
    found = {line["file"]: line for line in table(tmp_path / "out")}
    assert [found[file]["status"] for file in (name, "b.dcm")] == ["error", "ok"]
    assert "File name too long; rename the film" in found[name]["notes"]
    left = [path for path in (tmp_path / "out").iterdir() if path.name.startswith("xxx")]
    assert [json.loads(path.read_text("utf-8"))["status"] for path in left] == ["error"] * told


@pytest.mark.parametrize("uid", ["../../../escape", "/escape", "1.2/../../escape", "1.2\\..\\escape", "."])
def test_uids_name_no_file(
    uid: str, pipeline: Pipeline, tmp_path: Path, dicom_film: Callable[..., bytes]
) -> None:
    folder = tmp_path / "deep" / "films"
    folder.mkdir(parents=True)
    hostile = dicom_film(
        ExplicitVRLittleEndian, SOPInstanceUID=uid, StudyInstanceUID=uid, SeriesInstanceUID=uid, PatientID=uid
    )
    (folder / "film.dcm").write_bytes(hostile)
    out = tmp_path / "deep" / "out"
    batch.run(
        pipeline,
        inputs([folder], out),
        out,
        ("csv", "html", *dicom.FORMS),
        done=lambda *_: None,
    )
    assert {path.name.partition(".")[0] for path in out.iterdir()} == {"film", "predictions"}
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert not Path("/escape").exists()
