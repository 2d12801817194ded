"""Data sets by name: every kind opens the same way, and the wrong name tells the right one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.data import KINDS, join, listing, open_data, short
from hilum.data.check import check
from hilum.data.opened import decode
from hilum.errors import ConfigError, DataError
from hilum.labels import canonical
from hilum.types import Sample

Lay = Callable[[str, Path], str]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_named_samples_that_can_be_decoded(kind: str, tmp_path: Path, lay: Lay) -> None:
    samples = open_data(f"{kind}:{lay(kind, tmp_path / 'CheXpert-v1.0-small')}")
    assert samples
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.patient
        assert sample.site
        assert all(value in (0, 1) or math.isnan(value) for value in sample.labels.values())
        assert all(canonical(name) == name for name in sample.labels if kind != "gate" and kind != "pictures")
        assert sample.sex in (None, "F", "M") and sample.view in (None, "AP", "PA")
        assert sample.part in (None, "train", "tune", "test")
        shown, mask = decode(sample, 32)
        assert np.ptp(shown) > 0
        assert (mask is not None) == bool(sample.structures)


@pytest.mark.parametrize("kind", ["chexpert", "mimic", "padchest", "brax", "dicom"])
def test_films_of_one_examination_share_its_name(kind: str, tmp_path: Path, lay: Lay) -> None:
    samples = open_data(f"{kind}:{lay(kind, tmp_path / 'CheXpert-v1.0-small')}")
    patients: dict[str, set[str]] = {}
    for sample in samples:
        assert sample.study is not None and sample.study.startswith(f"{kind}:")
        patients.setdefault(sample.study, set()).add(sample.patient)
    assert all(len(some) == 1 for some in patients.values())
    assert len(patients) > 1
    assert "1.2.3" not in str(samples)  # a UID is the hospital's own


@pytest.mark.parametrize(("kind", "films", "patients"), [("chexpert", 6, 4), ("mimic", 6, 2), ("brax", 4, 3)])
def test_a_whole_copy_with_views_of_no_use_is_like_its_makers_figures(
    kind: str, films: int, patients: int, tmp_path: Path, lay: Lay
) -> None:
    found = listing(f"{kind}:{lay(kind, tmp_path / 'CheXpert-v1.0-small')}")
    assert found.passed_over and set(found.published) == {"films listed", "patients listed"}
    own = {"films listed": films, "patients listed": patients}
    whole = replace(found, missing=(), passed_over={"missing": len(found.missing), **found.passed_over})
    assert check(replace(whole, published=own)).unlike == ()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_passes_its_check(kind: str, tmp_path: Path, lay: Lay) -> None:
    found = listing(f"{kind}:{lay(kind, tmp_path / 'CheXpert-v1.0-small')}")
    told = check(found, every=True)
    assert not told.failures and not told.unlike
    assert int(told.counts["films"]) == len(found.samples)
    assert all(count > 0 for count in found.published.values())
    for key in found.published:
        assert " of " in told.counts[f"published {key}"]


def test_the_path_may_start_with_a_variable_or_at_home(
    tmp_path: Path, lay: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILMS_HERE", lay("folder", tmp_path))
    assert open_data("folder:$FILMS_HERE") == open_data(f"folder:{tmp_path}")
    monkeypatch.setenv("HOME", str(tmp_path.parent))  # shells replace no ~ behind a colon
    assert open_data(f"folder:~/{tmp_path.name}") == open_data(f"folder:{tmp_path}")
    monkeypatch.delenv("FILMS_HERE")
    with pytest.raises(ConfigError, match="FILMS_HERE is not set; export FILMS_HERE=FOLDER first"):
        open_data("folder:${FILMS_HERE}/ward")


@pytest.mark.parametrize("name", ["films/", "", "chexpect:films/", "NIH:films/", ":films"])
def test_an_unknown_kind_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(DataError, match="KIND is one of nih, chexpert, mimic"):
        open_data(name)


def test_a_data_set_without_films_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    heading = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"
    (tmp_path / "Data_Entry_2017.csv").write_text(f"{heading}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"nih:.*: no films found; check the path"):
        open_data(f"nih:{tmp_path}")


def test_the_first_data_set_to_hold_an_nih_film_wins() -> None:
    small, large, other = (Path(name) for name in ("small.png", "large.png", "other.png"))
    first = [Sample(id="nih:1", patient="nih:1", site="nih", image=large, published=True)]
    second = [
        Sample(id="nih:1", patient="nih:1", site="nih", image=small, published=True),
        Sample(id="nih:2", patient="nih:1", site="nih", image=other, published=True),
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
        ("nih:/a+b/nih14/+phantom:3@1", "nih:nih14+phantom:3@1"),
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


def test_a_film_that_stands_twice_in_one_data_set_is_refused(tmp_path: Path, lay: Lay) -> None:
    file = Path(lay("nih", tmp_path)) / "Data_Entry_2017_v2020.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(DataError, match="nih:1_000 stands there twice; keep one row, or one file, of it"):
        open_data(f"nih:{tmp_path}")


def test_a_users_folder_named_as_a_public_data_set_hides_nothing(tmp_path: Path) -> None:
    names = []
    for parent in ("a", "b"):
        (tmp_path / parent / "nih").mkdir(parents=True)
        (tmp_path / parent / "nih" / "films.csv").write_text("path\n00000001_000\n")
        names.append(f"csv:{tmp_path / parent / 'nih' / 'films.csv'}")
    published = [Sample(id="nih:00000001_000", patient="nih:1", image=tmp_path, published=True)]
    with pytest.raises(DataError, match="nih:00000001_000: stands in two data sets"):
        open_data("+".join(names))
    with pytest.raises(DataError, match="stands in two data sets"):
        join([published, open_data(names[0])])


def test_a_row_that_names_a_public_site_and_its_film_means_that_film(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("path,id,site\nx.png,00000001_000,nih\n")
    published = [Sample(id="nih:00000001_000", patient="nih:1", image=tmp_path, published=True)]
    assert join([published, open_data(f"csv:{tmp_path / 'films.csv'}")]) == published


def test_a_plus_joins_data_sets_and_is_harmless_in_a_path(tmp_path: Path, lay: Lay) -> None:
    first, second = lay("nih", tmp_path / "a+b"), lay("shenzhen", tmp_path / "c+csv")
    both = open_data(f"nih:{first}+shenzhen:{second}+phantom:2@1")
    alone = [open_data(f"nih:{first}"), open_data(f"shenzhen:{second}"), open_data("phantom:2@1")]
    assert [sample.id for sample in both] == [sample.id for part in alone for sample in part]
    assert [sample.site for sample in both] == ["nih"] * 2 + ["shenzhen"] * 3 + ["phantom"] * 2


def test_of_a_published_film_in_two_kinds_the_first_is_taken(tmp_path: Path, lay: Lay) -> None:
    one, other = lay("shenzhen", tmp_path / "a"), lay("lungmasks", tmp_path / "b")
    joined = open_data(f"shenzhen:{one}+lungmasks:{other}")
    assert [sample.id for sample in joined].count("shenzhen:CHNCXR_0001_0") == 1
    assert {sample.site for sample in joined} == {"shenzhen", "montgomery"}


def test_a_name_that_is_no_utf8_is_refused_by_name(tmp_path: Path) -> None:
    """Tables, splits and caches could not name it."""
    for label in ("Edema", "None"):
        (tmp_path / label).mkdir()
        Path(os.fsdecode(os.fsencode(tmp_path / label) + b"/caf\xe9.png")).touch()
    with pytest.raises(
        DataError, match=r"caf.{1,6}e9\.png' is not a name in UTF-8; rename the file or folder"
    ):
        open_data(f"folder:{tmp_path}")
