"""Data sets by name: every kind opens the same way, and the wrong name tells the right one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import KINDS, join, open_data, short
from hilum.data.cache import decode
from hilum.data.phantom import write
from hilum.errors import ConfigError, DataError
from hilum.types import Sample

HEADING = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\n"


def film(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.arange(64, dtype=np.uint8) + grey, (64, 1))
    path.write_bytes(cv2.imencode(".png", ramp)[1].tobytes())


def nih(folder: Path) -> str:
    film(folder / "images" / "1_000.png")
    (folder / "Data_Entry_2017.csv").write_text(f"{HEADING}1_000.png,Edema,1,50,F,PA\n", encoding="utf-8")
    return str(folder)


def masks(folder: Path) -> str:
    write(folder, count=3, seed=0)
    return str(folder)


def classes(folder: Path) -> str:
    film(folder / "edema" / "a.png")
    film(folder / "normal" / "b.png")
    return str(folder)


def table(folder: Path) -> str:
    write(folder, count=3, seed=0)
    return str(folder / "labels.csv")


def phantom(_: Path) -> str:
    return "3@5"


def pictures(_: Path) -> str:
    pytest.importorskip("skimage", reason="no pictures to open: pip install scikit-image")
    return "60"


def gate(_: Path) -> str:
    return "phantom:2@5"


MAKE: dict[str, Callable[[Path], str]] = {
    "nih": nih,
    "masks": masks,
    "folder": classes,
    "csv": table,
    "phantom": phantom,
    "pictures": pictures,
    "gate": gate,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_named_samples_that_can_be_decoded(kind: str, tmp_path: Path) -> None:
    samples = open_data(f"{kind}:{MAKE[kind](tmp_path)}")
    assert samples
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.patient
        assert sample.site
        assert all(value in (0, 1) for value in sample.labels.values())
        assert sample.labels or sample.structures
        shown, mask = decode(sample, 32)
        assert np.ptp(shown) > 0
        assert (mask is not None) == bool(sample.structures)


def test_the_path_may_start_with_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILMS_HERE", classes(tmp_path))
    assert open_data("folder:$FILMS_HERE") == open_data(f"folder:{tmp_path}")
    monkeypatch.delenv("FILMS_HERE")
    with pytest.raises(ConfigError, match="FILMS_HERE is not set; export FILMS_HERE=FOLDER first"):
        open_data("folder:${FILMS_HERE}/ward")


@pytest.mark.parametrize("name", ["films/", "", "chexpert:films/", "NIH:films/", ":films"])
def test_an_unknown_kind_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(DataError, match="write KIND:PATH with KIND one of nih, masks, folder, csv, phantom"):
        open_data(name)


def test_a_data_set_without_films_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADING, encoding="utf-8")
    with pytest.raises(DataError, match=r"nih:.*: no films found; check the path"):
        open_data(f"nih:{tmp_path}")


def test_the_first_data_set_to_hold_an_nih_film_wins() -> None:
    small, large, other = (Path(name) for name in ("small.png", "large.png", "other.png"))
    first = [Sample(id="nih:1", patient="nih:1", site="nih", image=large)]
    second = [
        Sample(id="nih:1", patient="nih:1", site="nih", image=small),
        Sample(id="nih:2", patient="nih:1", site="nih", image=other),
    ]
    assert [sample.image for sample in join([first, second])] == [large, other]
    assert [sample.image for sample in join([second, first])] == [small, other]
    assert join([]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nih:/home/someone/films/nih14/", "nih:nih14"),
        ("masks:$HILUM_DATA/jsrt", "masks:jsrt"),
        ("csv:../labels.csv", "csv:labels.csv"),
        ("phantom:200@7", "phantom:200@7"),
    ],
)
def test_the_short_name_tells_nothing_about_the_machine(name: str, expected: str) -> None:
    assert short(name) == expected


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_without_real_films_a_test_skips_unless_they_are_required(
    tmp_path: Path, required: str, outcome: str
) -> None:
    test = Path(__file__).with_name("test_masks.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "real_jsrt", str(test)]
    environment = {**os.environ, "HILUM_DATA": str(tmp_path), "HILUM_REQUIRE_FILMS": required}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert outcome in done.stdout
    assert (done.returncode == 0) == (required == "")


def test_two_folders_of_one_name_do_not_hide_each_others_films(tmp_path: Path) -> None:
    names = []
    for parent in ("a", "b"):
        for kind in ("normal", "edema"):
            (tmp_path / parent / "films" / kind).mkdir(parents=True)
            (tmp_path / parent / "films" / kind / "1.png").write_bytes(b"film")
        names.append(f"folder:{tmp_path / parent / 'films'}")
    with pytest.raises(DataError, match="stands in two data sets"):
        join([open_data(name) for name in names])
