"""Films a second of ``hilum predict --engine ray``: two workers on two cores against one on one core.

Run: python benchmarks/ray_predict.py (films are generated; alternating blocks. Every process, including Ray's
own and the driver, is bound to the named cores. Rates are from the middle of a run; the start is reported
separately. Two local runs at once, one core each, show how much the machine gains from the second core.)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

FILMS, PART, BLOCKS = 240, 20, 4
COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"]


def main() -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    found: dict[str, list[float]] = {}
    starts: list[float] = []
    tables = set[bytes]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_films(folder / "films", FILMS)
        for block in range(BLOCKS):

            def run(label: str, *cores: int, workers: int = 0, block: int = block) -> subprocess.Popen[bytes]:
                options = ["--engine", "ray", "--workers", str(workers)] if workers else ["--threads", "1"]
                return begin(folder / "films", folder / f"{block} {label}", cores, options)

            def rate(*labels: str, block: int = block) -> None:
                some = [folder / f"{block} {label}" for label in labels]
                tables.update((out / "predictions.csv").read_bytes() for out in some)
                found.setdefault(labels[0], []).append(sum(map(middle_rate, some)))
                print(
                    f"block {block}: {labels[0]}: {found[labels[0]][-1]:.1f} films a second", file=sys.stderr
                )

            waited(run("local, 1 core", first))
            rate("local, 1 core")
            waited(run("ray, 1 worker, 1 core", first, workers=1))
            rate("ray, 1 worker, 1 core")
            waited(run("2 local at once, 1 core each", first), run("other", second))
            rate("2 local at once, 1 core each", "other")
            began = time.time()
            waited(run("ray, 2 workers, 2 cores", first, second, workers=2))
            rate("ray, 2 workers, 2 cores")
            starts.append(min(times(folder / f"{block} ray, 2 workers, 2 cores")) - began)
    print(f"| {FILMS} films of 1024 x 1024 | films a second, median of {BLOCKS} | range |\n|---|---|---|")
    for label, rates in found.items():
        print(f"| {label} | {statistics.median(rates):.1f} | {min(rates):.1f} to {max(rates):.1f} |")
    local, one, both, two = found.values()
    for label, pairs in (
        ("ray: 2 workers / 1 worker", zip(two, one, strict=True)),
        ("local: 2 at once / 1", zip(both, local, strict=True)),
        ("ray, 2 workers / 2 local at once", zip(two, both, strict=True)),
    ):
        ratios = [a / b for a, b in pairs]
        print(f"{label}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"ray, from the command to the first part: {statistics.median(starts):.1f} s")
    print(f"tables that differ: {len(tables) - 1}")


def times(out: Path) -> list[float]:
    """Times at which results appeared: parts or, if there are none, files of single films."""
    return sorted(path.stat().st_mtime for path in (out / "predictions.parquet").glob("*")) or sorted(
        path.stat().st_mtime for path in out.glob("*.json")
    )


def middle_rate(out: Path) -> float:
    """Films a second between a tenth and nine tenths of a run."""
    some = times(out)
    edge = len(some) // 10
    middle = np.array(some[edge : len(some) - edge])
    return FILMS / len(some) * float(np.polyfit(middle - middle[0], np.arange(len(middle)), 1)[0])


def draw_films(folder: Path, count: int) -> None:
    import cv2

    from hilum.data.phantom import draw

    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:03}.png"), draw(i, size=1024).pixels)


def begin(films: Path, out: Path, cores: tuple[int, ...], options: list[str]) -> subprocess.Popen[bytes]:
    """One ``hilum predict`` bound to the cores."""
    command = [*COMMAND, "predict", films, "--out", out, "--as", "csv,json", "--part", str(PART), *options]
    # By default Ray's workers have low priority, which distorts the measurement on a shared machine.
    about = os.environ | {"RAY_worker_niceness": "0"}
    bind = partial(os.sched_setaffinity, 0, cores)
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=about, preexec_fn=bind)


def waited(*runs: subprocess.Popen[bytes]) -> None:
    """Wait until the runs have ended; exit code 1 means that films were refused."""
    if any(run.wait() not in (0, 1) for run in runs):
        raise SystemExit("a run failed")


if __name__ == "__main__":
    main()
