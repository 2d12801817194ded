"""The patient split: nobody crosses it, it is fair, and it is the same every time."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.data import join, open_data
from hilum.data.split import Split, make_split, official_split, read_split, select, write_split
from hilum.errors import DataError
from hilum.types import Sample

SPLITS = Path(__file__).parents[2] / "configs" / "splits"
NIH = ("nih14-256px", "nih14", "nih14-64px")


def film(patient: str, number: int = 0, site: str = "here", **labels: float) -> Sample:
    return Sample(id=f"{patient}-{number}", patient=patient, image=Path("x.png"), site=site, labels=labels)


@pytest.fixture(scope="module")
def many() -> list[Sample]:
    """800 patients of two sites with one to four films and one label each, from common to rare."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(800):
        site = str(rng.choice(["north", "south"]))
        label = str(rng.choice(["common", "uncommon", "rare"], p=[0.7, 0.25, 0.05]))
        found += [film(f"p{i}", n, site, **{label: 1.0, "never": 0.0}) for n in range(rng.integers(1, 5))]
    return found


def test_every_film_is_in_one_part_and_no_patient_in_two(many: list[Sample]) -> None:
    split = make_split(many)
    parts = {part: select(many, split, part) for part in ("train", "tune", "test")}
    assert sorted(s.id for chosen in parts.values() for s in chosen) == sorted(s.id for s in many)
    train, tune, test = ({s.patient for s in parts[part]} for part in ("train", "tune", "test"))
    assert not (train & tune or train & test or tune & test)
    assert train
    assert tune
    assert test


def test_the_fold_turns_and_the_test_part_stays(many: list[Sample]) -> None:
    split = make_split(many)
    tuned = [{s.patient for s in select(many, split, "tune", fold=fold)} for fold in range(5)]
    tests = {tuple(s.id for s in select(many, split, "test", fold=fold)) for fold in range(5)}
    assert len(tests) == 1
    assert sum(map(len, tuned)) == len(set().union(*tuned))  # each patient tunes in one fold only
    assert set().union(*tuned) == {s.patient for s in many} - {s.patient for s in select(many, split, "test")}


def test_the_same_films_in_any_order_give_the_same_split(many: list[Sample]) -> None:
    shuffled = [many[i] for i in np.random.default_rng(2).permutation(len(many))]
    assert make_split(many, seed=7) == make_split(shuffled, seed=7)
    assert make_split(many, seed=7) != make_split(many, seed=8)


@pytest.mark.parametrize(("test", "folds"), [(0.15, 5), (0.3, 2), (0.0, 10)])
def test_shares_are_those_asked_for_in_every_stratum(many: list[Sample], test: float, folds: int) -> None:
    split = make_split(many, test=test, folds=folds)
    strata = defaultdict(list)
    for patient, stratum in {
        s.patient: (s.site, max(s.labels, key=s.labels.__getitem__)) for s in many
    }.items():
        strata[stratum].append(split.parts[patient])
    assert len(strata) == 6
    for parts in strata.values():
        counts = Counter(parts)
        assert abs(counts["test"] - test * len(parts)) < 1
        per_fold = [counts[str(fold)] for fold in range(folds)]
        assert max(per_fold) - min(per_fold) <= 1
    whole = Counter(split.parts.values())
    assert whole["test"] == pytest.approx(test * 800, abs=4)
    assert sum(whole.values()) == 800


def test_the_rarest_label_of_any_film_decides_a_patients_stratum() -> None:
    # Each of the 40 with the rare label carries the common one too, on another film.
    rare = [film(f"r{i}", n, **{name: 1.0}) for i in range(40) for n, name in enumerate(["common", "rare"])]
    split = make_split([*rare, *(film(f"c{i}", common=1.0) for i in range(400))], test=0.25, folds=3)
    counts = Counter(split.parts[f"r{i}"] for i in range(40))
    assert counts["test"] == pytest.approx(10, abs=1)
    assert max(counts[str(fold)] for fold in range(3)) - min(counts[str(fold)] for fold in range(3)) <= 1


def test_many_small_strata_still_give_the_share() -> None:
    lonely = [film(f"p{i}", site=f"site{i}") for i in range(2000)]
    assert Counter(make_split(lonely).parts.values())["test"] == pytest.approx(300, abs=50)


def test_a_patient_the_split_does_not_know_is_refused(many: list[Sample]) -> None:
    split = make_split(many)
    with pytest.raises(
        DataError, match=r"stranger: not in the split file\..* Move it back, or make a new split"
    ):
        select([*many, film("stranger")], split, "train")


def test_the_hash_is_the_files_and_the_round_trip_is_exact(many: list[Sample], tmp_path: Path) -> None:
    odd = [*many, film('Ünal, "Bo"', rare=1.0)]
    split = make_split(odd)
    path = tmp_path / "new" / "split.csv"
    write_split(split, path)
    assert split.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_split(path) == split


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"patient part\na 0\n",
        b"patient,part\na\n",
        b"patient,part\na,0,0\n",
        b"patient,part\na,0\na,test\n",  # the leak that a split is there to prevent
        b"patient,part\na,tset\n",  # would train on test patients
        b"\xff\xfe\x00",
        b'patient,part\n"' + b"a,0\n" * 50_000,
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"split\.csv.*: .*; (make one|correct it|correct the row|give a csv in UTF-8)"
    ):
        read_split(path)


def test_a_file_that_a_spreadsheet_has_saved_is_read(many: list[Sample], tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_split(make_split(many), path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = read_split(path)
    assert found.parts == make_split(many).parts
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_split_that_can_be_read_only_once_is_read(tmp_path: Path) -> None:
    """As from a shell's <(...)."""
    pipe, text = tmp_path / "pipe", b"patient,part\na,0\nb,test\n"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, text)
        split = read_split(pipe)
    assert split == Split(parts={"a": "0", "b": "test"}, sha256=hashlib.sha256(text).hexdigest())


def test_a_missing_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory; make a split with 'hilum data split'"):
        read_split(tmp_path / "split.csv")


@pytest.mark.parametrize("wrong", [{"test": 1.0}, {"test": -0.1}, {"folds": 1}])
def test_impossible_shares_are_refused(many: list[Sample], wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="give a share below 1 and at least 2 folds"):
        make_split(many, **wrong)  # type: ignore[arg-type]


def test_labels_that_are_unknown_carry_no_weight() -> None:
    known = [film(f"p{i}", b=1.0) for i in range(60)]
    some = {"a": float("nan"), "b": 1.0}
    unknown = [replace(sample, labels=some if i % 2 else sample.labels) for i, sample in enumerate(known)]
    assert make_split(known) == make_split(unknown)


@pytest.fixture(scope="module")
def committed() -> dict[str, Split]:
    return {name: read_split(SPLITS / f"{name}.csv") for name in ("nih", "masks")}


@pytest.mark.parametrize(
    ("name", "sets"),
    [("nih", [f"nih:{folder}" for folder in NIH]), ("masks", ["masks:jsrt", "masks:shenzhen"])],
)
def test_the_committed_splits_are_what_the_films_give(
    films: Path, committed: dict[str, Split], name: str, sets: list[str]
) -> None:
    joined = join([open_data(one.replace(":", f":{films}/")) for one in sets])
    assert committed[name] == make_split(joined, test=0.15, folds=5, seed=2022)


def test_no_patient_of_the_three_nih_folders_stands_in_two_parts(
    films: Path, committed: dict[str, Split]
) -> None:
    parts = defaultdict(set)
    for folder in NIH:  # each on its own, as a run that trains on a single folder takes it
        found = open_data(f"nih:{films / folder}")
        for part in ("train", "tune", "test"):
            for sample in select(found, committed["nih"], part):
                # The number at the head of NIH's own file names is the patient's.
                parts[int(Path(str(sample.image)).stem.split("_")[0])].add(part)
    assert len(parts) == 4_331
    assert all(len(seen) == 1 for seen in parts.values())
    assert sum(seen == {"test"} for seen in parts.values()) == pytest.approx(0.15 * 4_331, abs=10)


def test_the_makers_own_test_part_is_kept_and_the_others_are_dealt() -> None:
    films = [replace(film(f"p{i}", n), part="test" if i < 10 else "train") for i in range(60) for n in (0, 1)]
    films[20] = replace(films[20], part="test")  # of p10, whose other film is the makers' to train on
    split = official_split(films, folds=3)
    assert {patient for patient, part in split.parts.items() if part == "test"} == {
        f"p{i}" for i in range(11)
    }
    assert set(split.parts.values()) == {"test", "0", "1", "2"}
    tied = official_split(films, folds=3, together=[("p40", "p3"), ("p50", "p51")])
    assert tied.parts["p40"] == "test" and tied.parts["p50"] == tied.parts["p51"] != "test"
    with pytest.raises(DataError, match="no film has an official test part"):
        official_split([replace(one, part=None) for one in films])
