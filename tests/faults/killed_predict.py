"""Predicts a folder repeatedly and is killed one step later each time: `test_batch` runs it.

A separate process, so that it has no threads when it forks. Prints at how many steps it was killed.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
from killing import NEVER, killed_at

from hilum.bulk import batch
from hilum.data.phantom import draw
from hilum.errors import HilumError, ReadError
from hilum.labels import SIX
from hilum.pipeline import Pipeline
from hilum.reading.files import inputs
from hilum.reading.reader import read
from hilum.report_files import write
from hilum.types import Anatomy, Report, now

FORMS = ("csv", "json", "mask")
DRAWN = Anatomy(mask=draw(7, size=256).mask, quality={"right_lung": 0.9, "left_lung": 0.9, "heart": 0.9})


def stream(sources: Iterable[Path], *, workers: int = 0) -> Iterator[Report | HilumError]:
    """Reports without a network, with the true outlines."""
    del workers
    for source in sources:
        try:
            film = read(source)
            yield Report(
                status="ok",
                radiograph=film,
                anatomy=DRAWN,
                measurements=None,
                prediction=None,
                cards={},
                created=now(),
            )
        except ReadError as error:
            yield error


def predict(films: Path, out: Path, left: int = 0) -> None:
    """Predict; the first `left` rows are from a killed run and must not be made again."""
    pipeline = cast(Pipeline, SimpleNamespace(labels=SIX, stream=stream, made_of="drawn"))
    told: list[batch.Outcome] = []
    batch.run(pipeline, inputs([films], out), out, FORMS, mark="the same", done=told.append)
    assert [one.earlier for one in told] == [True] * left + [False] * (4 - left), left


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def visible(out: Path) -> set[str]:
    """The names of all files except drafts; each must be complete."""
    found = {path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")}
    for path in found:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    return {path.relative_to(out).as_posix() for path in found}


def main() -> None:
    films, outs = Path(sys.argv[1]), Path(sys.argv[2])
    cv2.setNumThreads(1)
    write("warm", next(stream([films / "a.dcm"])), outs / "warm", FORMS)  # imports what the children need
    assert not killed_at(NEVER, partial(predict, films, outs / "whole"))
    expected, files = table(outs / "whole"), visible(outs / "whole")
    assert [row["status"] for row in expected] == ["ok", "ok", "error", "ok"]
    assert len(files) == 1 + 3 * 2 + 1
    step = 1
    while killed_at(step, partial(predict, films, out := outs / str(step))):
        left = visible(out) if out.exists() else set()
        rows = table(out) if "predictions.csv" in left else []
        assert rows == expected[: len(rows)], step
        # A film with a row has its files.
        assert all(f"{row['file']}.json" in left for row in rows), step
        assert not killed_at(NEVER, partial(predict, films, out, len(rows)))
        assert (table(out), visible(out)) == (expected, files), step
        step += 1
    print(step - 1)  # noqa: T201 - its result


if __name__ == "__main__":
    main()
