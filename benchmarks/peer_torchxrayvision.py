"""TorchXRayVision's documented path over a folder of films, as `peers.py` runs it.

Run: python peer_torchxrayvision.py FILMS OUT scores|all. As in its README and its segmentation notebook:
skimage reads, `normalize` scales, then centre crop and `XRayResizer` to 224 (512 for the PSPNet), one film at
a time. Weights are random, so only speed can be compared. Prints milliseconds a film for each stage as JSON.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import skimage.io
import torch
from PIL import Image

# With a CPU build of torch, PyPI's torchvision lacks these two operators and cannot be imported.
_operators = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402 - after its operators
import torchxrayvision as xrv  # noqa: E402
from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet  # noqa: E402


def main(films: Path, out: Path, forms: str) -> None:
    out.mkdir(parents=True)
    classifier = xrv.models.DenseNet(weights=None).eval()
    segmenter = _segmenter(out) if forms == "all" else None
    small, large = (
        torchvision.transforms.Compose([xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(size)])
        for size in (224, 512)
    )
    spent = dict.fromkeys(("read and normalise", "classify", "segment", "write"), 0.0)
    paths = sorted(films.iterdir())
    with (out / "scores.csv").open("w", newline="") as file, torch.no_grad():
        rows = csv.writer(file)
        rows.writerow(["file", *xrv.datasets.default_pathologies])
        for path in paths:
            began = time.perf_counter()
            image = xrv.datasets.normalize(skimage.io.imread(path), 255)
            image = image.mean(2)[None] if image.ndim == 3 else image[None]
            ready = torch.from_numpy(small(image))[None]
            read = time.perf_counter()
            scores = torch.sigmoid(classifier(ready))[0].numpy()
            classified = segmented = time.perf_counter()
            if segmenter is not None:
                outlines = torch.sigmoid(segmenter(torch.from_numpy(large(image))[None]))[0] > 0.5
                segmented = time.perf_counter()
                _mask(outlines.numpy(), image.shape[1:]).save(out / f"{path.name}.mask.png")
            rows.writerow([path.name, *(f"{score:.6g}" for score in scores)])
            ends = (read, classified, segmented, time.perf_counter())
            for stage, start, end in zip(spent, (began, *ends), ends, strict=False):
                spent[stage] += end - start
    print(json.dumps({stage: 1000 * seconds / len(paths) for stage, seconds in spent.items() if seconds}))


def _segmenter(folder: Path) -> torch.nn.Module:
    """The PSPNet, loaded by its constructor from a file of random weights instead of its download."""
    weights = {f"module.{name}": value for name, value in pspnet(14).state_dict().items()}
    torch.save(weights, folder / "pspnet_chestxray_best_model_4.pth")
    return xrv.baseline_models.chestx_det.PSPNet(cache_dir=str(folder))


def _mask(outlines: np.ndarray, shape: tuple[int, int]) -> Image.Image:
    """Right lung, left lung and heart (14, 512, 512) as Hilum's label map, at the film's own size."""
    targets = xrv.baseline_models.chestx_det.PSPNet.targets
    mask = np.zeros(outlines.shape[1:], np.uint8)
    for value, name in enumerate(("Right Lung", "Left Lung", "Heart"), 1):
        mask[outlines[targets.index(name)]] = value
    return Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
