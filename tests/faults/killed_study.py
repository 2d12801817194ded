"""Runs a study that is killed repeatedly, at random steps: `test_written_whole` runs it.

A separate process, so that it has no threads when it forks. Prints how often it was killed.
"""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path

import numpy as np
from killing import NEVER, killed_at

from hilum.card import read_card
from hilum.data import open_data
from hilum.data.split import make_split, write_split
from hilum.studies.report import write_report
from hilum.studies.study import entries, read_study, run

STUDY = """
out = "{out}"
folds = [0, 1]
columns = [["mean of 5 findings", "AUROC"]]

[base]
task = "classify"
architecture = "cnn"
start = "random"
arguments = {{ width = 2, depth = 2, grid = 4, dense = 8 }}
split = "{split}"
epochs = 2
batch = 8
workers = 0
save_minutes = 1e-9
preparation = {{ size = 32 }}

[runs.plain]

[sources.here]
data = ["phantom:40"]

[tests.held]
data = ["phantom:40"]
"""
MOST_STEPS = 25  # before a kill; more than there are between two saves
LIVES = 200


def study(path: Path) -> None:
    plan = read_study(path)
    write_report(plan, run(plan))


def written(folder: Path, split: Path) -> Path:
    path = folder / "study.toml"
    folder.mkdir()
    path.write_text(STUDY.format(out=folder / "runs", split=split))
    return path


def outcome(path: Path) -> tuple[list[list[str]], list[str]]:
    """The table of figures, and the hashes of all weights."""
    plan = read_study(path)
    with (plan.out / f"{path.stem}.csv").open(newline="", encoding="utf-8") as file:
        figures = list(csv.reader(file))
    return figures, [read_card(entry.config.out / "checkpoint").sha256 for entry in entries(plan)]


def main() -> None:
    folder = Path(sys.argv[1])
    split = folder / "split.csv"
    write_split(make_split(open_data("phantom:40"), test=0.2, folds=2, seed=0), split)
    whole, broken = written(folder / "whole", split), written(folder / "broken", split)
    assert not killed_at(NEVER, partial(study, whole))
    rng = np.random.default_rng(0)
    kills = 0
    while killed_at(int(rng.integers(1, MOST_STEPS)), partial(study, broken)):
        kills += 1
        assert kills < LIVES, "it gets nowhere"
    assert outcome(broken) == outcome(whole)
    print(kills)  # noqa: T201 - its result


if __name__ == "__main__":
    main()
