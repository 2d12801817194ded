"""Scores of a study's runs on its tests; the folds of a cross-validation are pooled."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hilum.calibration.decide import lent, margins
from hilum.card import read_card
from hilum.config import TrainConfig
from hilum.data import short
from hilum.errors import HilumError
from hilum.evaluation.evaluate import evaluate, films_for
from hilum.evaluation.figures import write
from hilum.evaluation.label_figures import figures_of
from hilum.evaluation.verdicts import TABLE, pool, read_verdicts
from hilum.reporting.report import identity, provenance
from hilum.runtime import Runtime, find
from hilum.studies.films import Test, digest, groups, unseen
from hilum.types import Sample, Tick, now


def score_run(
    config: TrainConfig,
    group: Path,
    name: str,
    test: Test,
    opened: Callable[[str], Sequence[Sample]],
    tick: Tick | None,
) -> None:
    """Evaluate a trained run on a test, unless this was done with the same weights, films and labels."""
    out = config.out / f"test-{name}"
    runtime = Runtime(find(config.out))
    about: dict[str, Any] = {
        "model": identity(runtime.card),
        "data": [short(data) for data in test.data],
        "parts": list(test.parts),
        "stress": test.stress,
        **({"groups": list(test.by)} if test.by else {}),
    }
    kept = runtime.card.task == "segment" or _grouped(out, test)
    said = evaluation_of(out) or {}
    scored = kept and about.items() <= said.items()
    if not scored:
        _forget(name, config.out, group)
    try:
        samples = unseen(config, test, opened)
    except HilumError:
        if scored:  # films, or the run's start, are gone: keep the score
            return
        raise
    about["films_sha256"] = digest(samples, test.by)
    if scored and said.get("films_sha256", about["films_sha256"]) == about["films_sha256"]:
        return
    _forget(name, config.out, group)
    # One cache for the whole study: its runs see the same films.
    films = films_for([runtime.card], samples, group.parent / ".hilum-cache", tick=tick)
    own = groups([sample.id for sample in films.samples], test, opened)
    evaluation = evaluate(runtime, films, groups=own, stress=test.stress, tick=tick)
    write(evaluation, {**about, "seed": 0, **provenance(now())}, out)


def pool_runs(outs: Sequence[Path], group: Path, name: str, test: Test) -> None:
    """Score the pooled verdicts of a run's folds; each film is judged by a model that never saw it.

    Calls use the other folds' thresholds, because a fold's own were chosen on its films. The calibration,
    two numbers a label, is the fold's own and was fitted on its films; it puts the models on one scale.
    """
    folders = [out / f"test-{name}" for out in outs]
    parts = [evaluation_of(folder) or {} for folder in folders]
    about = {
        "models": [part["model"] for part in parts],
        "data": parts[0]["data"],
        "parts": parts[0]["parts"],
        "films_sha256": [part.get("films_sha256", "") for part in parts],
        "thresholds": "the mean of the other folds' own" if len(outs) > 1 else "the fold's own",
        "calibration": "each fold's own, fitted on the films that it judges",
        **({"groups": list(test.by)} if test.by else {}),
    }
    out = group / f"test-{name}"
    if (said := evaluation_of(out)) and about.items() <= said.items() and _grouped(out, test):
        return
    cards = [read_card(find(own)) for own in outs]
    judged = []
    for folder, card in zip(folders, cards, strict=True):
        own = read_verdicts(folder / f"{TABLE}.csv")
        card = lent(card, [other for other in cards if other is not card])
        judged.append(replace(own, margins=margins(own.probabilities, card)))
    write(figures_of(pool(judged)), {**about, "seed": 0, **provenance(now())}, out)


def _grouped(out: Path, test: Test) -> bool:
    """Whether a test's folder holds the verdicts on each film, with the test's groups."""
    table = out / f"{TABLE}.csv"
    return table.is_file() and (not test.by or set(test.by) <= set(read_verdicts(table).groups))


def _forget(name: str, *outs: Path) -> None:
    """Remove a test's figures: they are outdated once films, labels or weights change."""
    for out in outs:
        (out / f"test-{name}" / "evaluation.json").unlink(missing_ok=True)


def evaluation_of(out: Path) -> dict[str, Any] | None:
    """The evaluation.json in a test's folder; None if there is none."""
    path = out / "evaluation.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found
