"""Films a second in training: Hilum's loop, a plain PyTorch loop and Lightning's Trainer on the same films.

Run: python benchmarks/train.py (draws 100 phantoms, copies each 15 times, downloads lightning's wheel; one
loop per process, in alternating blocks)

MobileNetV2 at 128 pixels in batches of 32, augmented by one thread in the training process, AdamW, bf16 if
the processor supports it. The reference, "the ceiling", is the same step on one batch in memory: it reads and
augments no films, clips no gradients and averages no weights. The second of two epochs is timed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

FILMS, COPIES, SIZE, BATCH, BLOCKS = 100, 15, 128, 32, 3
PEER = "lightning==2.6.6"

LAY = """
import sys
from pathlib import Path
import cv2
import numpy as np
from hilum.data import open_data
from hilum.data.opened import pixels_of
folder, (films, copies, size) = Path(sys.argv[1]), map(int, sys.argv[2:5])
(folder / "png").mkdir()
rows = ["path,patient,Edema,Cardiomegaly"]
for i, sample in enumerate(open_data(f"phantom:{films}")):
    film = np.rint(255 * cv2.resize(pixels_of(sample.image), (size, size), interpolation=cv2.INTER_AREA))
    for copy in range(copies):
        name = f"png/{copy:02d}{i:04d}.png"
        cv2.imwrite(str(folder / name), film)
        rows.append(f"{name},{i},{i % 2},{i % 3 == 0:d}")
(folder / "films.csv").write_text("\\n".join(rows) + "\\n")
"""

SETUP = """
import sys, time
from pathlib import Path
import torch
from hilum.config import train_config
from hilum.training.run import begin, fabric_for
from hilum.training.plan import make_plan
from hilum.training.batches import Shuffled, loader

folder, out, size, batch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
config = train_config(
    {"data": [f"csv:{folder / 'films.csv'}"], "task": "classify", "out": out, "epochs": 2, "batch": batch,
     "start": "random", "preparation": {"size": size}, "labels": ["Edema", "Cardiomegaly"], "augment": 0.6,
     "patience": 100}, [],
)
precision = fabric_for(config).strategy.precision.precision
mixed = lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true")
plan = lambda: make_plan(config)
"""

OURS = """
import csv
from hilum.training.train import train
train(config)
steps = len(Shuffled(len(plan().train), batch, 0, 0))
print(steps * batch / float(list(csv.DictReader((out / "history.csv").open()))[1]["seconds"]))
"""

CEILING = """
run = begin(config, plan(), fabric_for(config), False)
data = next(iter(loader(run.plan.train, Shuffled(len(run.plan.train), batch, 0, 0), 0)))
films = data["films"].contiguous(memory_format=torch.channels_last)
run.module.train()
def epoch():
    for _ in range(run.steps):
        with mixed():
            outputs = run.module(films)
        loss = run.loss({name: value.float() for name, value in outputs.items()}, data)
        loss.backward()
        run.optimizer.step()
        run.optimizer.zero_grad()
epoch()
began = time.perf_counter()
epoch()
print(run.steps * batch / (time.perf_counter() - began))
"""

PLAIN = """
run = begin(config, plan(), fabric_for(config), False)
module, optimizer = run.module.train(), torch.optim.AdamW(run.module.parameters(), 3e-4, weight_decay=0.05)
def epoch(number):
    for data in loader(run.plan.train, Shuffled(len(run.plan.train), batch, 0, number), 0):
        with mixed():
            outputs = module(data["films"].contiguous(memory_format=torch.channels_last))
        loss = run.loss({name: value.float() for name, value in outputs.items()}, data)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
epoch(0)
began = time.perf_counter()
epoch(1)
print(run.steps * batch / (time.perf_counter() - began))
"""

LIGHTNING = """
sys.path.append(sys.argv[5])
import hilum.models.imagenet as imagenet
imagenet.timm()
import logging, warnings
warnings.simplefilter("ignore")
import lightning
logging.getLogger("lightning").setLevel(logging.ERROR)
run = begin(config, plan(), fabric_for(config), False)
class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = run.module
    def training_step(self, data):
        outputs = self.network(data["films"].contiguous(memory_format=torch.channels_last))
        return run.loss(outputs, data)
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-4, weight_decay=0.05)
    def on_train_epoch_start(self):
        self.began = time.perf_counter()
    def on_train_epoch_end(self):
        self.rate = run.steps * batch / (time.perf_counter() - self.began)
module = Module()
trainer = lightning.Trainer(
    accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, precision=precision,
)
trainer.fit(module, loader(run.plan.train, Shuffled(len(run.plan.train), batch, 0, 0), 0))
print(module.rate)
"""

LOOPS = {
    "the step alone, the ceiling": CEILING,
    "hilum train": OURS,
    "a plain PyTorch loop": PLAIN,
    f"Lightning's Trainer, {PEER}": LIGHTNING,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, library = Path(place, "films"), Path(place, "library")
        folder.mkdir()
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(library), PEER]
        subprocess.run([*pip, "torchmetrics", "pytorch-lightning==2.6.6", "lightning-utilities"], check=True)
        run(LAY, folder, FILMS, COPIES, SIZE)
        rates: dict[str, list[float]] = {}
        for block in range(BLOCKS):
            for i, (name, script) in enumerate(LOOPS.items()):
                rate = float(run(SETUP + script, folder, Path(place, f"out{block}{i}"), SIZE, BATCH, library))
                rates.setdefault(name, []).append(rate)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    ceiling = next(iter(middle.values()))
    print("| loop | films a second | share of the step alone |\n|---|---|---|")
    for name, rate in middle.items():
        print(f"| {name} | {rate:.0f} | {rate / ceiling:.0%} |")


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip().rpartition("\n")[2]


if __name__ == "__main__":
    main()
