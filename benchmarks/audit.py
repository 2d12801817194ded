"""Quality and cost of the data set audit on real films. Run: python benchmarks/audit.py [TABLE]

NIH films with the same name in two folders are copies. These known copies are compared with the pairs that
the audit finds from the pictures alone. TABLE is the duplicates.csv of an audit of the three folders; without
it they are audited here. Then copies with changes are searched for among other films, and the search is timed
on growing numbers of films. Thresholds were chosen on the patients of folds 0 and 1, so judge by the other
folds. Times are processor time of all threads, so they also hold on a busy machine.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from hilum.data import open_data
from hilum.data.split import read_split
from hilum.evaluation.figures import Bench
from hilum.leakage import LEAST
from hilum.leakage.audit import Film, audit, listed
from hilum.leakage.likeness import likeness
from hilum.leakage.looks import gather, look_of
from hilum.leakage.search import candidates, likest
from hilum.reading.reader import read
from hilum.statistics.scores import average
from hilum.types import Array

FOLDERS = ("nih14", "nih14-256px", "nih14-64px")
SPLIT = Path(__file__).parent.parent / "configs" / "splits" / "nih.csv"
SIDES = {"chosen on (folds 0, 1)": ("0", "1"), "folds 2 to 4": ("2", "3", "4"), "test": ("test",)}
COPIED = 150
AMONG = ("2", "3")  # folds whose films are searched for the copies
COMPARED = 1000  # pairs whose comparison is timed
COUNTS = (1500, 3000, 6000, 12_000)
LARGE = 100_000

Change = Callable[[Array, np.random.Generator], Array]  # changes a film (H, W) float32 in [0, 1]


def jpeg(film: Array, quality: int) -> Array:
    data = cv2.imencode(".jpg", np.rint(film * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32) / 255


def cut(film: Array, rng: np.random.Generator, most: float) -> Array:
    """The film with up to `most` of its side cut off at each edge."""
    top, bottom, left, right = (rng.uniform(0, most, 4) * len(film)).astype(int)
    return film[top : len(film) - bottom, left : len(film) - right]


AREA = cv2.INTER_AREA

CHANGES: dict[str, Change] = {
    "150 pixels": lambda film, _: cv2.resize(film, (150, 150), interpolation=AREA),
    "JPEG, quality 40": lambda film, _: jpeg(film, 40),
    "96 pixels, JPEG, quality 20": lambda film, _: jpeg(cv2.resize(film, (96, 96), interpolation=AREA), 20),
    "gamma 0.5": lambda film, _: film**0.5,
    "gamma 2": lambda film, _: film**2,
    "two fifths of the contrast": lambda film, _: 0.3 + 0.4 * film,
    "CLAHE": lambda film, _: clahe(film),
    "cropped by up to 5 % an edge": lambda film, rng: cut(film, rng, 0.05),
    "cropped by up to 10 % an edge": lambda film, rng: cut(film, rng, 0.1),
    "cropped by up to 5 %, gamma, JPEG 40": lambda film, rng: jpeg(
        cut(film, rng, 0.05) ** rng.uniform(0.6, 1.7), 40
    ),
    "padded by an eighth": lambda film, _: cv2.copyMakeBorder(
        film, 0, 0, 32, 32, cv2.BORDER_CONSTANT, value=0
    ),
    "rotated by 90 degrees": lambda film, _: np.rot90(film),
    "mirrored": lambda film, _: np.fliplr(film),
    "rotated by 2 degrees": lambda film, _: cv2.warpAffine(
        film, cv2.getRotationMatrix2D((127.5, 127.5), 2, 1), (256, 256)
    ),
}


def clahe(film: Array) -> Array:
    return cv2.createCLAHE(3, (8, 8)).apply(np.rint(film * 255).astype(np.uint8)) / np.float32(255)


def named(films: list[Film], groups: list[tuple[int, ...]]) -> None:
    """Recall of the copies known by name; precision of the pairs found across folders."""
    by_name: dict[str, list[int]] = {}
    for place, film in enumerate(films):
        by_name.setdefault(film.sample.id, []).append(place)
    group = {place: number for number, some in enumerate(groups) for place in some}
    true = {(some[i], some[j]) for some in by_name.values() for i in range(len(some)) for j in range(i)}
    true = {(min(pair), max(pair)) for pair in true}
    found = {(a, b) for some in groups for a in some for b in some if a < b}
    across = {pair for pair in found if len(folders(films, pair)) > 1}
    print("| films | folders | named alike | recall | pairs found | of one name |\n|---|---|---|---|---|---|")
    for side, parts in SIDES.items():
        for one, other in ((0, 1), (1, 2), (0, 2)):
            sets = {FOLDERS[one], FOLDERS[other]}
            here = [
                [
                    pair
                    for pair in sorted(pairs)
                    if films[pair[0]].part in parts and folders(films, pair) == sets
                ]
                for pairs in (true, across)
            ]
            recall = share([(a, group.get(a, -1) == group.get(b, -2)) for a, b in here[0]], films)
            precision = share([(pair[0], pair in true) for pair in here[1]], films)
            cells = [side, " and ".join(sorted(sets)), len(here[0]), recall, len(here[1]), precision]
            print("| " + " | ".join(map(str, cells)) + " |")


def folders(films: list[Film], pair: tuple[int, int]) -> set[str]:
    return {films[place].data_set.removeprefix("nih:") for place in pair}


def share(cases: list[tuple[int, bool]], films: list[Film]) -> str:
    """A share with its interval over patients; if all cases agree, the exact interval."""
    if not cases:
        return ""
    patients = np.array([films[place].sample.patient for place, _ in cases])
    right = np.array([is_right for _, is_right in cases], float)
    one = Bench(patients, 0, 1000).figure("", "", average, right, films=np.ones(len(right), bool))
    exact = 0.025 ** (1 / len(set(patients.tolist())))
    low, high = {0.0: (0.0, 1 - exact), 1.0: (exact, 1.0)}.get(one.value, (one.low, one.high))
    return f"{100 * one.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def changed(films: list[Film], looks: Array) -> None:
    """How many changed copies are found, and how many wrong films."""
    pool = [i for i, film in enumerate(films) if film.data_set == f"nih:{FOLDERS[1]}" and film.part in AMONG]
    chosen = np.random.default_rng(0).choice(pool, COPIED, replace=False)
    others = [i for i, film in enumerate(films) if film.part in AMONG]
    print("\n| change | found | wrong films found |\n|---|---|---|")
    for name, change in CHANGES.items():
        copies = []
        for i in chosen:
            pixels = read(films[i].sample.image).pixels
            copies.append(look_of(np.ascontiguousarray(change(pixels, np.random.default_rng(i)), np.float32)))
        every = np.concatenate([looks[others], np.stack(copies)])
        found = candidates(every, np.arange(len(every)))
        found = found[(found[:, :2] >= len(others)).sum(axis=1) == 1]
        hits, wrong = set(), set()
        for one, other, view in found.tolist():
            copy, original = max(one, other) - len(others), others[min(one, other)]
            if likeness(every[one], every[other], view) >= LEAST:
                right = films[original].sample.id == films[chosen[copy]].sample.id
                (hits if right else wrong).add((copy, original))
        told = share([(int(i), any(copy == n for copy, _ in hits)) for n, i in enumerate(chosen)], films)
        print(f"| {name} | {told} | {len(wrong)} |", flush=True)


def timed(films: list[Film]) -> None:
    """Processor seconds of each part for growing numbers of films, and the exponent of the growth."""
    order = np.random.default_rng(0).permutation(len(films))
    seconds = []
    print(
        "\n| films | reading, s | search, s | pairs to compare | comparing, each, ms |\n|---|---|---|---|---|"
    )
    for count in COUNTS:
        some = [films[i].sample for i in order[:count]]
        read_in, looks = clocked(lambda some=some: gather(some).looks)
        searched, pairs = clocked(lambda looks=looks: candidates(looks, np.arange(len(looks))))
        few = np.random.default_rng(0).permutation(pairs)[:COMPARED].tolist()
        compared, _ = clocked(
            lambda looks=looks, few=few: [likeness(looks[a], looks[b], view) for a, b, view in few]
        )
        seconds.append((read_in, searched, len(pairs)))
        each = 1000 * compared / len(few)
        print(f"| {count} | {read_in:.1f} | {searched:.1f} | {len(pairs)} | {each:.1f} |", flush=True)
    powers = np.log(np.array(seconds[-1]) / seconds[-2]) / np.log(COUNTS[-1] / COUNTS[-2])
    print("| exponent of the growth | " + " | ".join(f"{power:.2f}" for power in powers) + " | |")
    # In a large data set each block is compared with all films, rotated views with half of them on average.
    rng = np.random.default_rng(0)
    plain, views = (rng.normal(size=size).astype(np.float32) for size in ((LARGE, 128), (10, 128, 128)))
    views, plain = views / np.sqrt(np.float32(128)), plain / np.sqrt(np.float32(128))
    block, _ = clocked(lambda: likest(views, plain, LARGE // 2))
    print(f"a block of 128 films among {LARGE}: {block:.2f} s; all of them: {block * LARGE / 128:.0f} s")


def clocked(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    done = work()
    return time.process_time() - start, done


def from_table(path: Path, films: list[Film]) -> list[tuple[int, ...]]:
    """The groups of a duplicates.csv, as indices of the films."""
    places = {(film.sample.id, film.data_set): i for i, film in enumerate(films)}
    groups: dict[str, set[int]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ends = {places[row[f"{which}film"], row[f"{which}data set"]] for which in ("", "other ")}
            groups.setdefault(row["group"], set()).update(ends)
    return [tuple(sorted(group)) for group in groups.values()]


def main() -> None:
    data = os.environ.get("HILUM_DATA", "../shared/data")
    films = listed(
        {f"nih:{data}/{name}": open_data(f"nih:{data}/{name}") for name in FOLDERS}, read_split(SPLIT)
    )
    looks = gather([film.sample for film in films])
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    named(films, from_table(given, films) if given else list(audit(films, looks).groups))
    changed(films, looks.looks)
    timed(films)


if __name__ == "__main__":
    main()
