"""Does a classifier use lungs and heart? Films with parts blanked, and what else its features predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.errors import ConfigError
from hilum.evaluation.blanked import see
from hilum.evaluation.conclusions import ALONE, AUROC, CHANGE, PREVALENCE, PROBE, conclusions, other_than
from hilum.evaluation.evaluate import groups_of, known_truth, verdicts_of
from hilum.evaluation.figures import Bench, Figure, too_few
from hilum.evaluation.label_figures import untold
from hilum.evaluation.probe import probe
from hilum.evaluation.verdicts import Verdicts, mean_auroc, mean_name
from hilum.runtime import Runtime
from hilum.statistics import scores
from hilum.statistics.scores import Statistic
from hilum.types import Array, Sample, Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All figures on a classifier's shortcuts, the conclusions, and what could not be examined."""

    samples: tuple[Sample, ...]  # the films that were examined
    figures: tuple[Figure, ...]
    conclusions: tuple[str, ...]
    missing: tuple[str, ...]  # what could not be examined, and why
    without_chest: tuple[str, ...]  # ids of films in which nothing could be blanked
    failures: dict[str, str]  # sample id -> why it could not be read


def audit(
    runtime: Runtime,
    samples: Sequence[Sample],
    *,
    sources: Mapping[str, str] | None = None,
    seed: int = 0,
    repeats: int = 1000,
    tick: Tick | None = None,
) -> Audit:
    """What a classifier's score rests on: films with parts blanked, and probes of its features.

    `sources` maps a sample's id to its data set. Raises ConfigError if the films have none of the labels or
    no film shows a chest, and whatever `see` raises.
    """
    known_truth(runtime.card, samples)
    seen = see(runtime, samples, tick=tick)
    if not seen.samples:
        raise ConfigError("no film shows a chest, nothing can be blanked; check the data set and the part")
    truth = known_truth(runtime.card, seen.samples)
    found = {
        condition: verdicts_of(runtime.card, seen.samples, truth, logits)
        for condition, logits in seen.logits.items()
    }
    plain = found[""]
    bench = Bench(plain.patients, seed, repeats)
    groups, missing = groups_in(attributes(seen.samples, sources or {}))
    figures = [*_survival(found, bench), *links(plain.labels, plain.truth, groups, bench)]
    if seen.features is None:
        missing.append("probes: not available, the model gives no features")
    else:
        figures += probes(seen.features, groups, bench)
    for what, films in (("no chest was found in", seen.without_chest), ("could not be read:", seen.failures)):
        if films:
            missing.append(f"{what} {len(films)} films, which are left out")
    return Audit(
        samples=seen.samples,
        figures=tuple(figures),
        conclusions=tuple(conclusions(figures)),
        missing=tuple(missing),
        without_chest=seen.without_chest,
        failures=seen.failures,
    )


def attributes(samples: Sequence[Sample], sources: Mapping[str, str]) -> dict[str, Array]:
    """Attributes that a score should not depend on: columns (N,) of names, "" for unknown."""
    ages = np.array([np.nan if sample.age is None else sample.age for sample in samples])
    middle = float(np.median(ages[~np.isnan(ages)])) if not np.isnan(ages).all() else np.nan
    return {
        **groups_of(samples, ["view", "sex", "site", "data set"], sources),
        "age": np.select([ages > middle, ages <= middle], [f"above {middle:g}", f"up to {middle:g}"], ""),
    }


def groups_in(columns: Mapping[str, Array]) -> tuple[dict[str, Array], list[str]]:
    """Groups to tell from the other films, each (N,) float64 of 0, 1 and NaN; and why a column has none.

    If a column has two groups, only the smaller one is returned.
    """
    found: dict[str, Array] = {}
    missing = []
    for name, column in columns.items():
        names, films = np.unique(column[column != ""], return_counts=True)
        if len(names) < 2:
            why = (
                f"nothing to tell apart, all films are {names[0]}"
                if len(names)
                else "no film has a value for it"
            )
            missing.append(f"{name}: not available, {why}")
            continue
        for group in names if len(names) > 2 else names[[np.argmin(films)]]:
            found[f"{name} {group}"] = np.where(column == "", np.nan, column == group)
    return found, missing


def _survival(found: Mapping[str, Verdicts], bench: Bench) -> Iterator[Figure]:
    """AUROC of each label and mean AUROC over the findings under each condition, and the change."""
    plain = found[""]
    told = []
    for i, label in enumerate(plain.labels):
        truth = plain.truth[:, i]
        known, positives = ~np.isnan(truth), int((truth == 1).sum())
        if too_few(int(known.sum()), positives):
            yield untold(label, AUROC, films=known, positives=positives)
        else:
            told.append(i)
            yield from _compared(found, [i], label, bench, positives)
    if len(findings := [i for i in told if i in plain.findings]) > 1:
        yield from _compared(found, findings, mean_name(findings), bench)


def _compared(
    found: Mapping[str, Verdicts], places: list[int], subject: str, bench: Bench, positives: int | None = None
) -> Iterator[Figure]:
    """Mean AUROC over the labels in these places, and its change, paired by film."""
    truth, before = found[""].truth[:, places], found[""].probabilities[:, places]
    known = ~np.isnan(truth).all(axis=1)
    for condition, verdicts in found.items():
        after = verdicts.probabilities[:, places]
        about: dict[str, Any] = {"films": known, "positives": positives, "condition": condition}
        yield bench.figure(subject, AUROC, mean_auroc, truth, after, **about)
        if condition:
            yield bench.figure(subject, CHANGE, _change, truth, before, after, **about)


def _change(truth: Array, before: Array, after: Array) -> Statistic:
    """The mean AUROC after minus that before: truth and probabilities (N, C)."""
    one, other = mean_auroc(truth, before), mean_auroc(truth, after)
    return lambda weights: other(weights) - one(weights)


def probes(features: Array, groups: Mapping[str, Array], bench: Bench) -> Iterator[Figure]:
    """How well the features predict each group."""
    for group, member in groups.items():
        told, positives = ~np.isnan(member), int((member == 1).sum())
        said = np.full(len(member), np.nan)
        if too_few(int(told.sum()), positives):
            yield untold(group, PROBE, films=told, positives=positives)
            continue
        said[told] = probe(features[told], member[told], bench.patients[told])
        if np.isnan(said[told]).any():
            yield untold(group, PROBE, films=told, positives=positives, remark="too few patients")
        else:
            yield bench.figure(group, PROBE, scores.auroc, member, said, films=told, positives=positives)


def links(labels: Sequence[str], known: Array, groups: Mapping[str, Array], bench: Bench) -> Iterator[Figure]:
    """The association of each label, truth `known` (N, C), with each group, without a model."""
    for group, member in groups.items():
        for i, label in enumerate(labels):
            truth = known[:, i]
            films = ~np.isnan(truth) & ~np.isnan(member)
            positives = int((truth[films] == 1).sum())
            inside = int((member[films] == 1).sum())
            if too_few(int(films.sum()), positives) or too_few(int(films.sum()), inside):
                continue
            for condition, value in ((group, 1), (other_than(group), 0)):
                yield bench.figure(
                    label,
                    PREVALENCE,
                    scores.share,
                    truth == 1,
                    member == value,
                    films=films,
                    positives=positives,
                    condition=condition,
                )
            yield bench.figure(
                label, ALONE, scores.auroc, truth, member, films=films, positives=positives, condition=group
            )
