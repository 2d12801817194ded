"""A pipeline of MONAI's components over a folder of films; `peers.py` runs it in a separate environment.

Run: python peer_monai.py FILMS OUT scores|all. Dictionary transforms, a DataLoader with two workers, MONAI's
DenseNet121 at 224 and its U-Net at 256; MONAI's own transforms resize the masks to the film's size and save
them. Weights are random, so only speed can be compared. Prints milliseconds a film for each stage as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import torch
from monai.data import CSVSaver, DataLoader, Dataset, decollate_batch
from monai.networks.nets import DenseNet121, UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    CopyItemsd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Resized,
    SaveImaged,
    ScaleIntensityd,
)


def main(films: Path, out: Path, forms: str) -> None:
    logging.disable()
    classifier = DenseNet121(spatial_dims=2, in_channels=1, out_channels=6).eval()
    segmenter = UNet(2, 1, 4, channels=(32, 64, 128, 256, 512), strides=(2, 2, 2, 2), num_res_units=2).eval()
    before = Compose(
        [
            LoadImaged(["film"], image_only=True),
            EnsureChannelFirstd(["film"]),
            ScaleIntensityd(["film"]),
            CopyItemsd(["film"], names=["small"]),
            Resized(["small"], (224, 224)),
            Resized(["film"], (256, 256)),
        ]
    )
    after = Compose(
        [
            Invertd("mask", transform=before, orig_keys="film", nearest_interp=False, to_tensor=True),
            AsDiscreted("mask", argmax=True),
            SaveImaged(
                "mask", output_dir=str(out), output_ext=".png", print_log=False, output_postfix="mask"
            ),
        ]
    )
    table = CSVSaver(output_dir=str(out), filename="scores.csv", overwrite=True)
    spent = dict.fromkeys(("wait for films", "classify", "segment", "write"), 0.0)
    paths = sorted(films.iterdir())
    loader = DataLoader(Dataset([{"film": str(path)} for path in paths], before), batch_size=4, num_workers=2)
    began = time.perf_counter()
    with torch.no_grad():
        for batch in loader:
            ready = time.perf_counter()
            scores = torch.sigmoid(classifier(batch["small"]))
            classified = segmented = time.perf_counter()
            if forms == "all":
                batch["mask"] = segmenter(batch["film"])
                segmented = time.perf_counter()
                for one in decollate_batch(batch):
                    after(one)
            table.save_batch(scores, batch["film"].meta)
            ends = (ready, classified, segmented, time.perf_counter())
            for stage, start, end in zip(spent, (began, *ends), ends, strict=False):
                spent[stage] += end - start
            began = ends[-1]
    table.finalize()
    print(json.dumps({stage: 1000 * seconds / len(paths) for stage, seconds in spent.items() if seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
