"""Milliseconds a film: hilum-lungs in ONNX Runtime and torchxrayvision's PSPNet, each at its own size.

Run: python benchmarks/outlines.py (downloads only torchxrayvision's wheel and imports only its network. Its
weights are random, which is enough for speed. One runtime per process, alternating blocks, two threads each.)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCKS = 3
PEER = "torchxrayvision==1.5.7"

TIMED = """
import statistics, time
def timed(run, films):
    run()
    times = []
    for _ in range(films):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    print(1000 * statistics.median(times))
"""

NETWORK = """
import numpy as np
from hilum.runtime import Runtime, find
runtime = Runtime(find("hilum-lungs"), threads=2)
size = runtime.card.preparation.size
film = np.random.default_rng(0).normal(size=(1, 1, size, size)).astype(np.float32)
timed(lambda: runtime(film), 40)
"""

WHOLE = """
import cv2
import numpy as np
from hilum.runtime import Runtime, find
from hilum.segment import segment
cv2.setNumThreads(2)
runtime = Runtime(find("hilum-lungs"), threads=2)
film = np.random.default_rng(0).random((1024, 1024), np.float32)
timed(lambda: segment(runtime, film), 20)
"""

PSPNET = """
import sys
import torch
sys.path.insert(0, sys.argv[1] + "/torchxrayvision/baseline_models/chestx_det")
from ptsemseg.pspnet import pspnet
torch.set_num_threads(2)
network = pspnet(14).eval()
film = torch.rand(1, 3, 512, 512)
def run():
    with torch.inference_mode():
        network(film)
timed(run, 3)
"""

NAMES = {
    "hilum-lungs, the network on 256 x 256": NETWORK,
    "hilum-lungs, film of 1024 x 1024 to outlines with their estimated quality": WHOLE,
    f"{PEER}, PSPNet on 512 x 512, eager torch": PSPNET,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PEER]
        subprocess.run(pip, check=True)
        taken: dict[str, list[float]] = {name: [] for name in NAMES}
        for _ in range(BLOCKS):
            for name, script in NAMES.items():
                command = [sys.executable, "-c", TIMED + script, str(Path(folder))]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                taken[name].append(float(done.stdout))
    middle = {name: statistics.median(times) for name, times in taken.items()}
    peer = list(middle.values())[-1]
    print("| what | ms a film, median of blocks | against PSPNet |\n|---|---|---|")
    for name, milliseconds in middle.items():
        print(f"| {name} | {milliseconds:.1f} | {peer / milliseconds:.0f} x as fast |")


if __name__ == "__main__":
    main()
