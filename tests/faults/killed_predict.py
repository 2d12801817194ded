"""Predicts a folder again and again, each time killed one step later: `test_batch` runs it.

A process of its own, which has no threads when it forks. Prints at how many steps it was killed.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2

from hilum import batch
from hilum.data.phantom import draw
from hilum.errors import HilumError, ReadError
from hilum.files import inputs
from hilum.labels import SIX
from hilum.pipeline import Pipeline
from hilum.read import read
from hilum.report_files import write
from hilum.types import Anatomy, Report, now

FORMS = ("csv", "json", "mask")
DRAWN = Anatomy(mask=draw(7, size=256).mask, quality={"right_lung": 0.9, "left_lung": 0.9, "heart": 0.9})


def stream(sources: Iterable[Path]) -> Iterator[Report | HilumError]:
    """Reports without a network, the outlines as drawn."""
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


def predict(films: Path, out: Path) -> None:
    pipeline = cast(Pipeline, SimpleNamespace(labels=SIX, stream=stream))
    batch.run(pipeline, inputs([films], out), out, FORMS, done=lambda *_: None)


def killed_at(step: int, films: Path, out: Path) -> bool:
    """Predict in a child that dies by SIGKILL at its given change to a file; False where it ended before."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            doomed(step, films, out)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


def doomed(step: int, films: Path, out: Path) -> None:
    """Die before a file is opened to be written or renamed, before a folder is made, or with half written."""
    steps, real = 0, Path.write_bytes

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and "r" not in arguments[1]
        if writes or event in ("os.rename", "os.mkdir"):
            count()

    def half(path: Path, data: bytes) -> int:
        real(path, data[: len(data) // 2])
        count()
        return real(path, data)

    Path.write_bytes = half  # type: ignore[method-assign,assignment]
    sys.addaudithook(watch)
    predict(films, out)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def visible(out: Path) -> set[str]:
    """The names of all files that are no drafts; each must be whole."""
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
    assert not killed_at(10**6, films, outs / "whole")
    expected, files = table(outs / "whole"), visible(outs / "whole")
    assert [row["status"] for row in expected] == ["ok", "ok", "error", "ok"]
    assert len(files) == 1 + 3 * 2 + 1
    step = 1
    while killed_at(step, films, out := outs / str(step)):
        left = visible(out) if out.exists() else set()
        rows = table(out) if "predictions.csv" in left else []
        assert rows == expected[: len(rows)], step
        # What has its row has its files.
        assert all(f"{row['file']}.json" in left for row in rows), step
        assert not killed_at(10**6, films, out)
        assert (table(out), visible(out)) == (expected, files), step
        step += 1
    print(step - 1)  # noqa: T201 - its result


if __name__ == "__main__":
    main()
