"""Loading speed for training: Hilum's cache, a folder of PNG, and WebDataset shards of these PNG.

Run: python benchmarks/data.py (draws 200 phantoms, copies each ten times and downloads webdataset's wheel;
each way runs in its own process, in alternating blocks)

Each way gives the same augmented films of 224 x 224 in batches of 32, with one loading process per core.
Cold: with an empty page cache; warm: once more. "Time of the training process" is the processor time that
receiving a film costs the training process; more loading processes do not reduce it. For comparison, the last
row gives the films a second that MobileNetV2 consumes in training here.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

FILMS, COPIES, SIZE, BLOCKS = 200, 10, 224, 3
PEER = "webdataset==1.0.2"

LAY = """
import sys
from pathlib import Path
import cv2
import numpy as np
from hilum.data import open_data
from hilum.data.cache import cached
from hilum.data.opened import pixels_of
from hilum.data.shard_writer import write
folder, (films, copies, size) = Path(sys.argv[1]), map(int, sys.argv[2:5])
(folder / "png").mkdir()
for i, sample in enumerate(open_data(f"phantom:{films}")):
    film = np.rint(255 * cv2.resize(pixels_of(sample.image), (512, 512), interpolation=cv2.INTER_AREA))
    for copy in range(copies):
        cv2.imwrite(str(folder / "png" / f"{copy:02d}{i:04d}.png"), film)
names = sorted(path.name for path in (folder / "png").iterdir())
(folder / "films.csv").write_text("path,Edema\\n" + "".join(f"png/{name},0\\n" for name in names))
samples = open_data(f"csv:{folder / 'films.csv'}")
write(samples, folder / "shards", films=250)
cached(samples, size, folder / "cache")
"""

SETUP = """
import os, sys, time
from pathlib import Path
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from hilum.augment import augment
from hilum.card import Preparation
from hilum.prepare import compose, fit

folder, size, workers, cold = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "cold"
preparation = Preparation(size=size)
cv2.setNumThreads(1)

def made(film, i):
    film, _ = augment(film, None, np.random.default_rng([0, i]), strength=0.6)
    return compose(film, None, preparation)

def seen(coded, i):
    film = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_GRAYSCALE)
    return made(fit(film, size) / np.float32(255), i)

def forget():
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

def timed(batches):
    if cold:
        forget()
    count, began, own = 0, time.perf_counter(), time.process_time()
    for batch in batches:
        count += len(batch)
    print(count / (time.perf_counter() - began), 1000 * (time.process_time() - own) / count)
"""

PNG = """
class Folder(torch.utils.data.Dataset):
    def __init__(self):
        self.paths = sorted((folder / "png").iterdir())
    def __len__(self):
        return len(self.paths)
    def __getitem__(self, i):
        return seen(self.paths[i].read_bytes(), i)
timed(DataLoader(Folder(), batch_size=32, shuffle=True, num_workers=workers))
"""

CACHE = """
from hilum.training.batches import Films, Shuffled, loader
from hilum.data import open_data
from hilum.data.cache import cached
films = Films(
    cache=cached(open_data(f"csv:{folder / 'films.csv'}"), size, folder / "cache"), labels=("Edema",),
    preparation=preparation, strength=0.6, seed=0,
)
timed(batch["films"] for batch in loader(films, Shuffled(len(films), 32, 0, 0), workers))
"""

SHARDS = """
sys.path.insert(0, sys.argv[5])
import webdataset as wds
shards = [str(path) for path in sorted((folder / "shards").glob("*.tar"))]
stream = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(200).map(
    lambda one: seen(one["png"], int(one["__key__"]))
)
timed(DataLoader(stream, batch_size=32, num_workers=workers))
"""

NETWORK = """
import sys, time
import torch
from hilum.models import build
size = int(sys.argv[2])
network = build("mobilenetv2", 6, seed=0).to(memory_format=torch.channels_last).train()
films = torch.randn(32, 1, size, size).contiguous(memory_format=torch.channels_last)
def step():
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(films)["logits"].square().mean()
    loss.backward()
step()
began = time.perf_counter()
for _ in range(5):
    step()
print(5 * 32 / (time.perf_counter() - began))
"""

WAYS = {
    "a folder of PNG, a plain DataLoader": SETUP + PNG,
    f"WebDataset shards of them, {PEER}": SETUP + SHARDS,
    "Hilum's cache": SETUP + CACHE,
}


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        folder, library = Path(place, "films"), Path(place, "library")
        folder.mkdir()
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(library),
            PEER,
            "braceexpand",
        ]
        subprocess.run(pip, check=True)
        run(LAY, folder, FILMS, COPIES, SIZE)
        measured: dict[tuple[str, str], list[float]] = {}
        for _ in range(BLOCKS):
            for name, script in WAYS.items():
                for state in ("cold", "warm"):
                    rate, own = map(float, run(script, folder, SIZE, workers, state, library).split())
                    measured.setdefault((name, state), []).append(rate)
                    measured.setdefault((name, "own"), []).append(own)
        needed = float(run(NETWORK, folder, SIZE))
    middle = {key: statistics.median(rates) for key, rates in measured.items()}
    first = next(iter(WAYS))
    head = ("cold", "warm", "against PNG", "against the need", "time of the training process, ms a film")
    print(f"| films a second, {workers} loading processes | {' | '.join(head)} |")
    print("|---|---|---|---|---|---|")
    for name in WAYS:
        cold, warm = middle[name, "cold"], middle[name, "warm"]
        against = f"{warm / middle[first, 'warm']:.1f} x | {warm / needed:.0f} x"
        print(f"| {name} | {cold:.0f} | {warm:.0f} | {against} | {middle[name, 'own']:.2f} |")
    print(f"| need of MobileNetV2 in training here, by itself | | {needed:.0f} | | | |")


if __name__ == "__main__":
    main()
