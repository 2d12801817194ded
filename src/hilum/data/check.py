"""Count what a data set holds and lacks, and test whether its films can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hilum.data.opened import attempt
from hilum.engines import cores
from hilum.errors import HilumError
from hilum.labels import CONCLUDED, UNCERTAIN
from hilum.types import Listing, Sample, Tick

_DRAWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Counts by name, differences from the makers' figures, and why films could not be read."""

    counts: dict[str, str]
    unlike: tuple[str, ...]
    failures: tuple[str, ...]


def check(listing: Listing, *, every: bool = False, tick: Tick | None = None) -> Check:
    """Count what a data set holds and lacks, and open all of its films or a random 200.

    Fewer films than published are no difference: the data set may be a part. More films are, and so are other
    figures if all films are there.
    """
    samples = listing.samples
    chosen = list(samples)
    if not every and len(chosen) > _DRAWN:
        places = np.random.default_rng(0).choice(len(chosen), _DRAWN, replace=False)
        chosen = [chosen[i] for i in sorted(places)]
    have = _figures(listing)
    counts = {
        "films": str(len(samples)),
        "patients": str(have["patients"]),
        "opened": str(len(chosen)),
        "with masks": str(have["with masks"]),
        **_lacking(listing),
        **{f"published {key}": f"{have[key]:,} of {figure:,}" for key, figure in listing.published.items()},
        **_tally("site", Counter(sample.site for sample in samples)),
        **_tally("view", Counter(sample.view or "unknown" for sample in samples)),
        **_tally("sex", Counter(sample.sex or "unknown" for sample in samples)),
        **_tally("official part", Counter(sample.part for sample in samples if sample.part)),
        **_labels(samples),
    }
    return Check(counts=counts, unlike=_unlike(listing, have), failures=_opened(chosen, tick))


def _opened(chosen: Sequence[Sample], tick: Tick | None) -> tuple[str, ...]:
    """Why films could not be read."""
    failures = []
    with ThreadPoolExecutor(cores()) as pool:
        for done, why in enumerate(pool.map(_why, chosen), 1):
            failures += [why] if why else []
            if tick:
                tick(done, len(chosen), "opening films")
    return tuple(failures)


def _why(sample: Sample) -> str:
    found = attempt(sample, 64)
    return str(found) if isinstance(found, HilumError) else ""


def _figures(listing: Listing) -> Counter[str]:
    """The figures that can be compared with those of the makers."""
    samples = listing.samples
    patients = {sample.patient for sample in samples}
    positive = Counter(
        f"label {name}" for sample in samples for name, value in sample.labels.items() if value == 1
    )
    return positive + Counter(
        {
            "films": len(samples),
            "films listed": len(samples) + len(listing.missing) + sum(listing.passed_over.values()),
            "patients": len(patients),
            "patients listed": len(patients | listing.patients),
            "with masks": sum(sample.masks is not None for sample in samples),
        }
    )


def _lacking(listing: Listing) -> dict[str, str]:
    """Films that the table or the folder lacks, films that were skipped, and notes."""
    found = {}
    for what, films in (("missing", listing.missing), ("not in the table", listing.unlisted)):
        if films:
            found[what] = f"{len(films)}, the first: {films[0]}"
    found |= {f"passed over, {why}": str(count) for why, count in listing.passed_over.items() if count}
    return found | {f"of note, {what}": str(count) for what, count in listing.notes.items() if count}


def _unlike(listing: Listing, have: Counter[str]) -> tuple[str, ...]:
    whole = "films" if "films" in listing.published else "films listed"
    complete = not listing.missing and have[whole] == listing.published.get(whole)
    return tuple(
        f"{key}: {have[key]:,}, published {figure:,}"
        for key, figure in listing.published.items()
        if have[key] > figure or (complete and have[key] != figure)
    )


def _labels(samples: Sequence[Sample]) -> dict[str, str]:
    found = {}
    for label in sorted({name for sample in samples for name in sample.labels}):
        values = np.array([sample.labels.get(label, np.nan) for sample in samples])
        uncertain = int(np.isin(values, (UNCERTAIN, CONCLUDED)).sum())
        found[f"label {label}"] = (
            f"{int((values == 1).sum())} positive, {int(np.isnan(values).sum())} unknown"
            + (f", {uncertain} uncertain" if uncertain else "")
        )
    return found


def _tally(what: str, counter: Counter[str]) -> dict[str, str]:
    return {f"{what} {name}": str(count) for name, count in counter.most_common()}
