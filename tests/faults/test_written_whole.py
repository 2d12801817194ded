"""Evaluations that are killed while they are written, films that are corrupt, clocks that jump."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

import hilum
from hilum.data.cache import cached
from hilum.data.phantom import draw
from hilum.evaluation.figures import Evaluation, Figure, write
from hilum.pacs.place import Place
from hilum.pacs.records import Film
from hilum.studies.scores import evaluation_of
from hilum.types import Sample


def evaluation() -> Evaluation:
    figure = Figure(subject="Edema", measure="AUROC", films=9, positives=4, value=0.5, low=0.4, high=0.6)
    return Evaluation(figures=(figure,), tables={"films": [{"film": f"f{n}", "score": n} for n in range(9)]})


@pytest.mark.parametrize("killed", range(12))
def test_an_evaluation_counts_as_done_only_where_all_of_it_is_written(
    killed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(evaluation(), {"model": "m"}, tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    steps, out = 0, tmp_path / "out"

    def step(name: str, real: Callable[..., object]) -> None:
        def wrapped(*arguments: object, **options: object) -> object:
            nonlocal steps
            if steps == killed:
                raise KeyboardInterrupt(name)
            steps += 1
            return real(*arguments, **options)

        monkeypatch.setattr(f"hilum.store.{name}", wrapped)

    step("os.open", os.open)
    step("os.fsync", os.fsync)
    step("Path.replace", Path.replace)
    try:
        write(evaluation(), {"model": "m"}, out)
    except KeyboardInterrupt:
        assert killed < 9
    else:
        assert killed >= 9  # three files, three steps each
    monkeypatch.undo()
    left = {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}
    assert all(whole[name] == content for name, content in left.items())
    if evaluation_of(out) is not None:  # what a study goes by
        assert left == whole
    write(evaluation(), {"model": "m"}, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


def test_a_study_killed_again_and_again_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killed_study.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 5  # times that it was killed


def test_a_disk_too_full_for_the_state_of_a_training_is_one_line_and_costs_no_work(tmp_path: Path) -> None:
    network = "architecture=cnn start=random arguments.width=16 arguments.grid=4 preparation.size=64"
    run = f"train --data phantom:24 --task classify {network} epochs=1 batch=8 workers=0"
    start = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"
    # No file larger than this: what a full disk says, without being root.
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1)); {start}"

    def hilum(program: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *run.split(), f"out={tmp_path / 'run'}", *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    done = hilum(limited)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr and "state.part: File too large" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "run").glob("state*"))
    done = hilum(start, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint" / "card.json").is_file()


def test_one_corrupt_film_in_a_hundred_is_left_out_by_name(
    tmp_path: Path,
) -> None:
    picture = cv2.imencode(".png", draw(1, size=64).pixels)[1].tobytes()
    samples = []
    for n in range(100):
        path = tmp_path / f"{n:03}.png"
        path.write_bytes(picture[:-400] if n == 42 else picture)
        samples.append(Sample(id=path.stem, patient=path.stem, image=path))
    found = cached(samples, 32, tmp_path / "cache")
    assert len(found.samples) == len(found.films) == 99
    assert list(found.failures) == ["042"] and "042" not in {sample.id for sample in found.samples}
    assert "damaged" in json.dumps(found.failures)
    shutil.rmtree(tmp_path / "cache")


def test_a_clock_that_was_set_back_holds_up_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with Place(tmp_path / "place.sqlite", own=True) as place:
        place.offer([Film(study="1.2", series="1.3", sop="1.4")], {})
        monkeypatch.setattr(time, "time", lambda: real() - 365 * 86_400)
        assert [film.sop for film in place.due(9)] == ["1.4"]
        place.later("1.4", 60, "no answer")
        assert not place.due(9)
        monkeypatch.setattr(time, "time", lambda: real() + 365 * 86_400)
        assert [film.sop for film in place.due(9)] == ["1.4"]


# Where the time of day is asked for, and what for: nothing that a film's result or an order depends on.
CLOCKS = {
    "types": "the time that results tell",
    "report_files": "the age of drafts that killed runs left",
    "data.cache": "likewise",
    "pacs.place": "turns of films that were put off, by an hour at most",
    "pacs.worker": "likewise",
    "pacs.archive": "the day that an archive is asked about to see whether it lives",
    "pacs.watch": "the day up to which films are searched for, from the last search's day",
    "serve.service": "when a film was received",
    "serve.api_jobs": "when a job was",
    "serve.runner": "the age of jobs that are forgotten",
    "serve.films": "the age of films that are kept no longer",
    "serve.sessions": "the age of sessions",
}


def test_the_time_of_day_is_asked_for_only_where_nothing_depends_on_it() -> None:
    package = Path(hilum.__file__).parent
    asked = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = f"{node.value.id}.{node.attr}"
                if called in ("time.time", "datetime.now", "date.today", "datetime.today", "datetime.utcnow"):
                    asked.add(".".join(path.relative_to(package).with_suffix("").parts))
    assert asked == CLOCKS.keys()
