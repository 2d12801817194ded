"""Hilum, TorchXRayVision's documented path and a pipeline of MONAI's components on the same films.

Run: python benchmarks/peers.py [FOLDER] (about 20 minutes on 2 cores; FOLDER keeps the environments for the
next run). Each program has its own environment, the peers' with a CPU torch. The peers' networks have random
weights, Hilum has its own, so only speed, memory and size are compared. Each program runs in its own process,
in alternating blocks, and is timed from the start of the process to its end.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from install import light_install, usage
from predict import draw_films

FILMS, BLOCKS = 40, 3
HERE = Path(__file__).parent
XRV, MONAI, HILUM = "TorchXRayVision", "MONAI", "Hilum"
TORCH = ("torch==2.13.0", "torchvision==0.28.0")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        kept = Path(sys.argv[1]) if len(sys.argv) > 1 else work
        sizes = {
            XRV: usage(environment(kept / XRV, *TORCH, "torchxrayvision==1.5.7")),
            MONAI: usage(environment(kept / MONAI, *TORCH, "monai==1.6.1", "pillow")),
            HILUM: usage(hilum_environment(kept / HILUM)),
        }
        draw_films(work / "films", FILMS)
        draw_films(work / "one", 1)
        report(measured(kept, work), sizes)


def environment(place: Path, *packages: str) -> Path:
    """A virtual environment with these packages; the first two (torch, torchvision) are installed first."""
    if not (place / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        for some in (packages[:2], packages[2:]):
            subprocess.run([str(place / "bin" / "python"), "-m", "pip", "install", "-q", *some], check=True)
        (place / "done").touch()
    return place


def hilum_environment(place: Path) -> Path:
    """An environment with the current Hilum, reinstalled even if the folder is kept."""
    light_install(place)
    return place


Figures = dict[tuple[str, str], dict[str, list[float]]]


def measured(kept: Path, work: Path) -> Figures:
    """(Program, "scores" or "all") -> cold start, seconds for all films, peak memory; one value per block."""
    found: Figures = {}
    for block in range(BLOCKS):
        for program in (XRV, MONAI, HILUM):
            for forms in ("scores", "all"):
                figures = found.setdefault((program, forms), {})
                out = work / f"{program}-{forms}-{block}"
                cold, _, _ = timed(command(kept, program, work / "one", out / "one", forms))
                took, peak, said = timed(command(kept, program, work / "films", out / "films", forms))
                told = {"cold": cold, "films": took, "memory": peak}
                if program != HILUM:
                    told |= {f"ms {stage}": spent for stage, spent in json.loads(said).items()}
                for key, value in told.items():
                    figures.setdefault(key, []).append(value)
    return found


def command(kept: Path, program: str, films: Path, out: Path, forms: str) -> list[str]:
    if program == HILUM:
        asked = "csv" if forms == "scores" else "csv,mask"
        return [str(kept / HILUM / "bin" / "hilum"), "predict", str(films), "--out", str(out), "--as", asked]
    script = HERE / f"peer_{program.lower()}.py"
    return [str(kept / program / "bin" / "python"), str(script), str(films), str(out), forms]


def timed(program: list[str]) -> tuple[float, float, str]:
    """Seconds from start to end, peak memory in MB with children, and the output."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(program, stdout=said, stderr=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.05)
        took = time.perf_counter() - began
        if process.returncode:
            raise RuntimeError(f"{' '.join(program)}: ended with {process.returncode}")
        said.seek(0)
        return took, peak, said.read()


def resident(pid: int) -> float:
    """Memory in MB of a process and its children now; shared memory counts once."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        own = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # the process has just ended
        return 0.0
    shares = sum(int(line.split()[1]) for line in own.splitlines() if line.startswith("Pss:"))
    return shares / 1000 + sum(resident(int(child)) for child in children)


def report(figures: Figures, sizes: dict[str, int]) -> None:
    print(
        f"{FILMS} generated films of 1024 x 1024 as PNG, {os.cpu_count()} cores, median of {BLOCKS} blocks\n"
    )
    what = {"scores": "scores as csv", "all": "scores, masks at the film's size"}
    print("| program | writes | one film, s | films a second | times | peak memory, MB | install, MB |")
    print("|---|---|---|---|---|---|---|")
    for (program, forms), told in figures.items():
        cold, films, memory = (statistics.median(told[key]) for key in ("cold", "films", "memory"))
        base = statistics.median(figures[XRV, forms]["films"])
        print(
            f"| {program} | {what[forms]} | {cold:.2f} | {FILMS / films:.2f} | {base / films:.1f} x "
            f"| {memory:.0f} | {sizes[program] / 1e6:.0f} |"
        )
    print("\nMilliseconds a film for each stage (for Hilum: python benchmarks/stages.py):\n")
    for (program, forms), told in figures.items():
        stages = {key[3:]: statistics.median(spent) for key, spent in told.items() if key.startswith("ms ")}
        if stages:
            print(f"- {program}, {what[forms]}: " + ", ".join(f"{k} {v:.0f}" for k, v in stages.items()))


if __name__ == "__main__":
    main()
