"""Films a second and peak memory of ``hilum predict``; its two networks compared with eager torch.

Run: python benchmarks/predict.py (films are generated; one runtime per process, in alternating blocks)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILMS = 200
BLOCKS = 3
HILUM = str(Path(sys.executable).with_name("hilum"))

NETWORKS = """
import sys, time
from pathlib import Path
import numpy as np
from hilum.prepare import prepare
from hilum.reading.reader import read
{load}
films = [read(path).pixels for path in sorted(Path(sys.argv[1]).iterdir())[:40]]
seconds = 0.0
for start in range(0, len(films), 4):
    for run, preparation in networks:
        some = films[start : start + 4]
        batch = np.stack([prepare(film, preparation, np.ones(film.shape, np.uint8)) for film in some])
        began = time.perf_counter()
        run(batch)
        seconds += (time.perf_counter() - began) * (start > 0)
print(seconds / (len(films) - 4))
"""

ONNX = """
from hilum.runtime import Runtime, find
networks = [(m, m.card.preparation) for m in (Runtime(find(n)) for n in ("hilum-lungs", "hilum-six"))]
"""

EAGER = """
import torch
from hilum.training.checkpoint import load
def eager(module):
    def run(batch):
        with torch.inference_mode():
            return module(torch.from_numpy(batch))
    return run
networks = [(eager(m), c.preparation) for m, c in (load(n) for n in ("hilum-lungs", "hilum-six"))]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_films(folder / "films", FILMS)
        forms = {"csv,json,mask": [], "csv,json,png": []}
        networks: dict[str, list[float]] = {"ONNX Runtime": [], "eager torch": []}
        memory = 0
        for block in range(BLOCKS):
            for form, rates in forms.items():
                seconds, peak = predict(folder / "films", folder / f"out{block}{form}", form)
                rates.append(FILMS / seconds)
                memory = max(memory, peak)
            for runtime, script in (("ONNX Runtime", ONNX), ("eager torch", EAGER)):
                command = [sys.executable, "-c", NETWORKS.format(load=script), str(folder / "films")]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                networks[runtime].append(float(done.stdout))
        print(f"| {FILMS} generated films of 1024 x 1024 | films a second, median | best |\n|---|---|---|")
        for form, rates in forms.items():
            print(f"| hilum predict --as {form} | {statistics.median(rates):.1f} | {max(rates):.1f} |")
        print(f"\npeak memory of the command: {memory / 1e6:.0f} MB\n")
        print("| the two networks alone | ms a film, median | against eager torch |\n|---|---|---|")
        base = statistics.median(networks["eager torch"])
        for runtime, taken in networks.items():
            middle = statistics.median(taken)
            print(f"| {runtime} | {1000 * middle:.1f} | {base / middle:.1f} x as fast |")


def draw_films(folder: Path, count: int) -> None:
    import cv2

    from hilum.data.phantom import draw

    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:03}.png"), draw(i, size=1024).pixels)


def predict(films: Path, out: Path, forms: str) -> tuple[float, int]:
    """Seconds from process start to end, and peak resident memory in bytes, of one ``hilum predict``."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [HILUM, "predict", str(films), "--out", str(out), "--as", forms],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: some films were refused
        raise RuntimeError(f"hilum predict {films}: exit code {process.returncode}")
    return time.perf_counter() - began, used.ru_maxrss * 1024


if __name__ == "__main__":
    main()
