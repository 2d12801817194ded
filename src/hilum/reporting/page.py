"""Shared parts of HTML pages: templates of the package, and embedded pictures."""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hilum.types import Array

if TYPE_CHECKING:
    from jinja2 import Template


_TILE = 176  # side of a thumbnail, pixels


@cache
def template(name: str) -> Template:
    """A template of the package by its name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("hilum"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def data_url(image: Array) -> str:
    """A picture (H, W, 3) uint8 RGB as a data URL."""
    # JPEG is a fifth of PNG's size here; full chroma keeps the thin outlines crisp.
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        90,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def tile(film: Array) -> str:
    """A film (H, W) uint8 as a thumbnail, in a data URL."""
    large = cv2.resize(np.asarray(film), (_TILE, _TILE), interpolation=cv2.INTER_LINEAR)
    return data_url(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB))
