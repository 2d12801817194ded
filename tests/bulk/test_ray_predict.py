"""The parts of the Ray engine that need no Ray: films of a worker that died, and the joined table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hilum.bulk import parts
from hilum.bulk.inputs import Broken
from hilum.bulk.ray_predict import _DEATHS, _Job, _mourn
from hilum.errors import DataError
from hilum.labels import SIX
from hilum.pipeline import Opener

FILMS: dict[str, Opener] = {name: Broken(DataError(name)) for name in ("a.png", "b.png", "c.png")}


@dataclass
class Shrinking:
    """A shard that lists one film less each time it is asked, as one on a failing network may."""

    listed: int = 0
    mark: str = ""

    def named(self) -> Mapping[str, Opener]:
        self.listed += 1
        return dict(list(FILMS.items())[: 4 - self.listed])


def test_a_portion_is_listed_once_however_many_of_its_films_are_tried_alone(tmp_path: Path) -> None:
    portion = Shrinking()
    job = _Job(portion, tmp_path / "part")  # type: ignore[arg-type]
    assert job.next is portion
    for _ in range(_DEATHS):
        _mourn(job, tmp_path, ())
    tried = []
    while len(job.found) < len(job.films):
        assert isinstance(job.next, dict)
        tried.append(job.next)
        for _ in range(_DEATHS):
            _mourn(job, tmp_path, ())
    assert tried == [{name: film} for name, film in FILMS.items()]
    assert portion.listed == 1
    assert [one.cells["file"] for one in job.found] == list(FILMS)
    assert {one.cells["status"] for one in job.found} == {"error"}


def test_a_table_that_cannot_be_joined_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path, labels: Any) -> Any:
        raise DataError(f"{path}: damaged {len(labels)}")

    monkeypatch.setattr(parts, "read_part", damaged)
    with pytest.raises(DataError):
        parts.joined([tmp_path / "part"], tmp_path / "predictions.csv", SIX, lambda _: None)
    assert not list(tmp_path.iterdir())
    parts.joined([], tmp_path / "predictions.csv", SIX, lambda _: None)
    assert (tmp_path / "predictions.csv").read_bytes().startswith(b"file,status,Atelectasis")
