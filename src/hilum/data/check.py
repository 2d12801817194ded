"""What a data set holds, and whether its films can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum.data.cache import Tick, decode
from hilum.errors import HilumError
from hilum.types import Sample

_DRAWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Counts by name, and why films could not be read."""

    counts: dict[str, str]
    failures: tuple[str, ...]


def check(samples: Sequence[Sample], *, every: bool = False, tick: Tick | None = None) -> Check:
    """Count what the samples say, and open all of them or 200 drawn ones."""
    chosen = list(samples)
    if not every and len(chosen) > _DRAWN:
        places = np.random.default_rng(0).choice(len(chosen), _DRAWN, replace=False)
        chosen = [chosen[i] for i in sorted(places)]
    failures = []
    for done, sample in enumerate(chosen, 1):
        try:
            decode(sample, 64)
        except HilumError as error:
            failures.append(str(error))
        if tick:
            tick(done, len(chosen), "opening films")
    counts = {
        "films": str(len(samples)),
        "patients": str(len({sample.patient for sample in samples})),
        "opened": str(len(chosen)),
        "with masks": str(sum(sample.masks is not None for sample in samples)),
        **_tally("site", Counter(sample.site for sample in samples)),
        **_tally("view", Counter(sample.view or "unknown" for sample in samples)),
        **_tally("sex", Counter(sample.sex or "unknown" for sample in samples)),
    }
    for label in sorted({name for sample in samples for name in sample.labels}):
        values = np.array([sample.labels.get(label, np.nan) for sample in samples])
        counts[f"label {label}"] = (
            f"{int((values == 1).sum())} positive, {int(np.isnan(values).sum())} unknown"
        )
    return Check(counts=counts, failures=tuple(failures))


def _tally(what: str, counter: Counter[str]) -> dict[str, str]:
    return {f"{what} {name}": str(count) for name, count in counter.most_common()}
