"""The patient split into test, tuning and training; made once, kept in a file, identified by its hash."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from hilum.data.ties import tied
from hilum.errors import DataError
from hilum.reading.files import read_csv
from hilum.store import as_csv, write_whole
from hilum.types import Sample

Part = Literal["train", "tune", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Patient -> "test" or the number of a fold."""

    parts: dict[str, str]
    sha256: str  # of the file's bytes


def make_split(
    samples: Sequence[Sample],
    *,
    test: float = 0.15,
    folds: int = 5,
    seed: int = 0,
    together: Iterable[tuple[str, str]] = (),
) -> Split:
    """Split patients into the test part and folds, with similar shares of sites and labels in each.

    A patient's stratum is the site and the rarest label of any of the patient's films. Two patients in a pair
    of `together` share a film, and are assigned together.
    """
    if not 0 <= test < 1 or folds < 2:
        raise DataError(f"test={test}, folds={folds}; give a share below 1 and at least 2 folds")
    rng = np.random.default_rng(seed)
    parts: dict[str, str] = {}
    dealt = 0
    as_one = tied(together)
    for patients in _strata([replace(s, patient=as_one.get(s.patient, s.patient)) for s in samples]):
        shuffled = [patients[i] for i in rng.permutation(len(patients))]
        # The remainder is random, so that many small strata still give the wanted share.
        tests = int(len(shuffled) * test + rng.random())
        for patient in shuffled[:tests]:
            parts[patient] = "test"
        for patient in shuffled[tests:]:
            parts[patient] = str(dealt % folds)
            dealt += 1
    own = {sample.patient for sample in samples}
    parts = {patient: parts[as_one.get(patient, patient)] for patient in own}
    return Split(parts=parts, sha256=hashlib.sha256(_encode(parts)).hexdigest())


def official_split(
    samples: Sequence[Sample], *, folds: int = 5, seed: int = 0, together: Iterable[tuple[str, str]] = ()
) -> Split:
    """The data set's official test part, and the other patients in folds as in `make_split`.

    A patient with any film in the test part is a test patient, and so is one who shares a film with such a
    patient. Raises DataError if no film has an official part.
    """
    as_one = tied(together)
    tests = {as_one.get(s.patient, s.patient) for s in samples if s.part == "test"}
    held = {s.patient for s in samples if as_one.get(s.patient, s.patient) in tests}
    if not held:
        raise DataError("no film has an official test part; put the makers' lists beside their table")
    others = [s for s in samples if s.patient not in held]
    dealt = make_split(others, test=0, folds=folds, seed=seed, together=as_one.items())
    parts = dealt.parts | dict.fromkeys(held, "test")
    return Split(parts=parts, sha256=hashlib.sha256(_encode(parts)).hexdigest())


def unnamed(names: Iterable[str], samples: Sequence[Sample]) -> str:
    """A warning if the user's own data sets `names` name no patients; "" if they do.

    One person's films may then be in several parts.
    """
    # A phantom, which is drawn and has no path, may be called like its patient.
    films = sum(sample.patient == sample.id for sample in samples if isinstance(sample.image, Path))
    if not films or not any(re.search(r"(^|\+)(folder|csv):", name) for name in names):
        return ""
    return (
        f"{films} of {len(samples)} films name no patient, so each counts as a patient of its own: "
        "films of one person may both train and test; a csv with a column 'patient' prevents that"
    )


def write_split(split: Split, path: Path) -> None:
    """Write the split as a csv of ``patient,part``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _encode(split.parts))


def read_split(path: Path) -> Split:
    """Read a split; raises DataError if the file is missing or malformed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; make a split with 'hilum data split'") from None
    columns, rows = read_csv(path, data=data)  # the very bytes that are hashed
    if columns != ["patient", "part"]:
        raise DataError(f"{path}: not a split file; make one with 'hilum data split'")
    parts = {row["patient"]: row["part"] for _, row in rows}
    if len(parts) < len(rows) or not all(part == "test" or part.isdecimal() for part in parts.values()):
        raise DataError(f"{path}: a patient stands twice, or a part is neither 'test' nor a fold; correct it")
    return Split(parts=parts, sha256=hashlib.sha256(data).hexdigest())


def select(
    samples: Sequence[Sample], split: Split, part: Part, *, fold: int = 0, held: Iterable[int] = ()
) -> list[Sample]:
    """The samples whose patients belong to a part: "test", "tune" (the fold) or "train" (the other folds).

    Films of the folds in `held` belong to no part.
    """
    out = {str(one) for one in held}
    chosen = []
    for sample in samples:
        where = split.parts.get(sample.patient)
        if where is None:
            raise DataError(
                f"{sample.patient}: not in the split file. Patients are named SITE:ID; without a site column "
                "SITE is the data set's folder name, so a moved folder changes it. Move it back, or make a "
                "new split: hilum data split"
            )
        belongs: Part = "test" if where == "test" else "tune" if where == str(fold) else "train"
        if belongs == part and where not in out:
            chosen.append(sample)
    return chosen


_NAMED = {"nih": r"\d{8}_\d{3}", "jsrt": r"JPC(LN|NN)\d{3}", "shenzhen": r"CHNCXR_\d{4}_[01]"}
"""File names of published films, without the ending."""


def may_know(learned: Iterable[str], names: Sequence[str], samples: Sequence[Sample]) -> bool:
    """Whether a model trained on the data sets `learned` may have seen these films of the data sets `names`.

    It may if two data sets are of the same kind, or if the films have file names of a published data set.
    """
    theirs = {name for one in learned for name in one.split(" + ")}
    called = {PurePath(sample.id.rpartition(":")[2]).stem for sample in samples}
    known = any(
        re.fullmatch(pattern, stem)
        for source, pattern in _NAMED.items()
        if source in " ".join(theirs).lower()
        for stem in called
    )
    kinds = {one.partition(":")[0] for name in names for one in name.split("+")}
    return known or bool(kinds & {name.partition(":")[0] for name in theirs})


def first_patients(samples: Sequence[Sample], patients: int) -> list[Sample]:
    """The films of `patients` patients, with a share of each stratum; a larger number includes a smaller.

    Raises DataError if there are fewer patients.
    """
    rng = np.random.default_rng(0)
    # A patient's place in the queue: the relative position in a random order of the stratum.
    place = {
        patient: (i + rng.random()) / len(members)
        for members in _strata(samples)
        for i, patient in enumerate(rng.permutation(members).tolist())
    }
    if patients > len(place):
        raise DataError(f"patients={patients}: the training part has {len(place)}; set patients=0 for all")
    chosen = set(sorted(place, key=place.__getitem__)[:patients])
    return [sample for sample in samples if sample.patient in chosen]


def _strata(samples: Sequence[Sample]) -> list[list[str]]:
    """The patients of each stratum of `make_split`, ordered by name."""
    carried: dict[str, set[str]] = defaultdict(set)
    sites: dict[str, str] = {}
    for sample in samples:
        carried[sample.patient].update(name for name, value in sample.labels.items() if value == 1)
        sites[sample.patient] = sample.site
    counts = Counter(label for labels in carried.values() for label in labels)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for patient, labels in sorted(carried.items()):
        rarest = min(labels, key=lambda label: (counts[label], label), default="")
        strata[sites[patient], rarest].append(patient)
    return [patients for _, patients in sorted(strata.items())]


def _encode(parts: dict[str, str]) -> bytes:
    rows = [{"patient": patient, "part": part} for patient, part in sorted(parts.items())]
    return as_csv(["patient", "part"], rows).encode()
