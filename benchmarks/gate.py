"""What the input gate refuses and catches, on films that its network never saw.

Run: python benchmarks/gate.py [tune|test] (needs HILUM_DATA, scikit-image and pydicom-data). Thresholds were
chosen on "tune"; "test" is for the published figures. `hilum.data.wrong` makes wrong films from true ones.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from hilum.data import join, open_data, wrong
from hilum.data.opened import pixels_of
from hilum.data.split import read_split, select
from hilum.errors import HilumError
from hilum.gate import recognise
from hilum.pipeline import GATE, SEGMENTER, Pipeline
from hilum.reading.reader import read
from hilum.runtime import Runtime, find
from hilum.statistics.intervals import bootstrap
from hilum.statistics.metrics import mean
from hilum.types import Array, Radiograph, Report, Sample

ROOT = Path(__file__).parent.parent
SPLIT = ROOT / "configs" / "splits" / "gate.csv"
NIH = ("nih:$HILUM_DATA/nih14-256px", "nih:$HILUM_DATA/nih14", "nih:$HILUM_DATA/nih14-64px")
MASKS = ("masks:$HILUM_DATA/jsrt", "masks:$HILUM_DATA/shenzhen")
SEED = 2026
EACH = 100  # NIH films made wrong in each way; of JSRT and Shenzhen together half as many

LARGE = 512  # pixels a side of films before they are made wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One picture and its patient, for intervals over patients."""

    film: str
    patient: str
    make: Callable[[], Radiograph]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's verdict on one picture."""

    film: str
    patient: str
    refused: bool
    codes: frozenset[str]  # of reasons and of flags


def main() -> None:
    part = sys.argv[1] if len(sys.argv) > 1 else "test"
    gate = Runtime(find(GATE), threads=1)
    pipeline = Pipeline(Runtime(find(SEGMENTER)), None, gate=gate)
    right, others = right_films(part), held_back(["pictures:2000@7"], part)
    print(
        f"| true films ({part}) | films | patients | refused | flagged as mirrored | flagged as a child's |"
    )
    print("|---|---|---|---|---|---|")
    verdicts = {source: ask(pipeline, films) for source, films in right.items()}
    verdicts["all"] = [verdict for some in verdicts.values() for verdict in some]
    for source, said in verdicts.items():
        cells = [shown(said, lambda one: one.refused)]
        cells += [shown(said, lambda one, code=code: code in one.codes) for code in ("mirrored", "child")]
        print(f"| {source} | {len(said)} | {len({one.patient for one in said})} | {' | '.join(cells)} |")
    print(
        "\nrefused:",
        "; ".join(f"{one.film} ({', '.join(sorted(one.codes))})" for one in verdicts["all"] if one.refused),
    )
    children = [one for one in verdicts["all"] if "child" in one.codes]
    print(f"of {len(children)} children's films refused: {shown(children, lambda one: one.refused)}")
    print(f"\n| wrong inputs ({part}) | inputs | caught | called by its name |\n|---|---|---|---|")
    for kind, (code, films) in wrong_inputs(part, others).items():
        said = ask(pipeline, films)
        caught = shown(said, lambda one, code=code: one.refused or (code == "mirrored" and code in one.codes))
        named = shown(said, lambda one, code=code: code in one.codes)
        print(f"| {kind} | {len(said)} | {caught} | {named} |", flush=True)
    print(f"\nthe network: {milliseconds(gate):.1f} ms for a film of 1024 x 1024, one thread")


def held_back(names: Sequence[str], part: str) -> list[Sample]:
    """The samples of data sets that belong to a part of the gate's split."""
    return select(join([open_data(name) for name in names]), read_split(SPLIT), part)  # type: ignore[arg-type]


def right_films(part: str) -> dict[str, list[Input]]:
    """Frontal films of the part, by source; the DICOM files are only in the test part."""
    films = {"NIH": [opened(sample) for sample in held_back(NIH, part)]}
    for sample in held_back(MASKS, part):
        films.setdefault({"jsrt": "JSRT", "shenzhen": "Shenzhen"}[sample.site], []).append(opened(sample))
    if part == "test":
        own = Path(os.path.expandvars("$HILUM_DATA/dicom"))
        paths = [*sorted(own.glob("*.dcm")), packaged() / "RG1_UNCR.dcm"]
        films["DICOM files"] = [
            Input(film=path.name, patient=path.name, make=partial(read, path)) for path in paths
        ]
    return films


def packaged() -> Path:
    """Folder of the films in the package pydicom-data."""
    found = importlib.util.find_spec("data_store")
    if found is None or found.origin is None:
        raise SystemExit("needs the package pydicom-data: pip install pydicom-data")
    return Path(found.origin).parent / "data"


def opened(sample: Sample) -> Input:
    return Input(film=sample.id, patient=sample.patient, make=partial(radiograph, sample))


def radiograph(sample: Sample) -> Radiograph:
    film = read(pixels_of(sample.image))
    # The age as a DICOM header would give it.
    return replace(film, origin=replace(film.origin, path=sample.id, age=sample.age))


def wrong_inputs(part: str, others: Sequence[Sample]) -> dict[str, tuple[str, list[Input]]]:
    """Pictures that must be caught, by kind, with the expected code."""
    rng = np.random.default_rng(SEED)
    chosen = []
    for names, count in ((NIH, EACH), (MASKS, EACH // 2)):
        films = held_back(names, part)
        chosen += [films[i] for i in rng.permutation(len(films))[:count]]
    chosen = [replace(sample, image=partial(enlarged, sample)) for sample in chosen]
    made = {kind: (kind, [opened(wrong.wrong(sample, kind)) for sample in chosen]) for kind in wrong.WRONG}
    for kind, (code, spoil) in SPOILED.items():
        made[kind] = (
            code,
            [Input(film=s.id, patient=s.patient, make=partial(spoil, radiograph(s))) for s in chosen],
        )
    medical = [sample for sample in others if sample.patient.endswith(".dcm")]
    limbs = [sample for sample in medical if "RG3" in sample.patient]
    groups = {
        "CT, MR, ultrasound, without header": [sample for sample in medical if sample not in limbs],
        "parts of an extremity, without header": limbs,
        "other pictures": [sample for sample in others if sample not in medical],
    }
    return made | {kind: ("other", [opened(s) for s in some]) for kind, some in groups.items() if some}


def enlarged(sample: Sample) -> Array:
    """The film with more pixels, so that a part of it is not refused because of its size."""
    film = cv2.resize(pixels_of(sample.image), (LARGE, LARGE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(film.clip(0, 1))


def small(film: Radiograph) -> Radiograph:
    return read(cv2.resize(film.pixels, (48, 48), interpolation=cv2.INTER_AREA))


def blank(film: Radiograph) -> Radiograph:
    """An unexposed plate: one grey level with a little detector noise."""
    rng = np.random.default_rng(int(film.pixels.sum()))
    return read(np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.003, (256, 256)), 0, 1))


def lateral(film: Radiograph) -> Radiograph:
    return replace(film, view="LL")


def computed(film: Radiograph) -> Radiograph:
    return replace(film, origin=replace(film.origin, modality="CT"))


def knee(film: Radiograph) -> Radiograph:
    return replace(film, origin=replace(film.origin, body_part="KNEE"))


SPOILED: dict[str, tuple[str, Callable[[Radiograph], Radiograph]]] = {
    "too small": ("small", small),
    "blank": ("blank", blank),
    "lateral, by header": ("lateral", lateral),
    "another modality, by header": ("not-radiograph", computed),
    "another body part, by header": ("not-chest", knee),
}


def ask(pipeline: Pipeline, inputs: Sequence[Input]) -> list[Verdict]:
    """The gate's verdict on each picture; a picture that cannot be read counts as refused."""

    def sources() -> Iterator[Radiograph]:
        for one in inputs:
            yield one.make()

    verdicts = []
    for one, result in zip(inputs, pipeline.stream(sources()), strict=True):
        if isinstance(result, HilumError):
            verdicts.append(Verdict(film=one.film, patient=one.patient, refused=True, codes=frozenset()))
            continue
        assert isinstance(result, Report)  # noqa: S101
        codes = frozenset(reason.code for reason in (*result.reasons, *result.flags))
        verdicts.append(
            Verdict(film=one.film, patient=one.patient, refused=result.status == "rejected", codes=codes)
        )
    return verdicts


def shown(verdicts: Sequence[Verdict], hit: Callable[[Verdict], bool]) -> str:
    """A share with its 95 % interval over patients; if all agree, the exact interval."""
    hits = np.array([hit(one) for one in verdicts], float)
    patients = np.array([one.patient for one in verdicts])
    rng = np.random.default_rng(0)
    share = bootstrap(mean, hits, groups=patients, rng=rng)
    low, high, value = share.low, share.high, share.value
    exact = 0.025 ** (1 / len(set(patients)))  # Clopper and Pearson 1934, as if each patient had one film
    if value in (0, 1):
        low, high = (0.0, 1 - exact) if value == 0 else (exact, 1.0)
    interval = "one patient" if np.isnan(low) else f"{low:.1%} to {high:.1%}"
    return f"{value:.1%} ({interval})".replace("%", " %")


def milliseconds(gate: Runtime) -> float:
    cv2.setNumThreads(1)
    film = read(np.random.default_rng(0).random((1024, 1024)).astype(np.float32))
    times = []
    for _ in range(30):
        began = time.perf_counter()
        recognise(gate, film)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
