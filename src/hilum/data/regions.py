"""Films for classifiers that look at a part of them, or are told of outlines; hilum-lungs draws those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial

import numpy as np

from hilum.card import Preparation, read_card
from hilum.data.opened import pixels_of, stamp
from hilum.engines import cores
from hilum.errors import ConfigError
from hilum.gate import implausible
from hilum.pipeline import SEGMENTER
from hilum.prepare import chest
from hilum.runtime import Runtime, find
from hilum.segment import segment
from hilum.types import STRUCTURES, Array, Pixels, Sample


def regional(samples: Sequence[Sample], preparations: Sequence[Preparation]) -> list[Sample]:
    """The samples as inputs of all these preparations can be made from: cut, with outlines, or as they are.

    Outlines are hilum-lungs's own, as on a film that a user brings, whatever masks the data have. Raises
    ConfigError where some want the films cut and others whole.
    """
    if all(preparation.region == "film" for preparation in preparations):
        return [replace(sample, masks=None, structures=frozenset()) for sample in samples]
    if len({preparation.cut for preparation in preparations}) > 1:
        raise ConfigError("one of the models takes films cut to the chest, another whole ones: use either")
    # The graph's hash is among what a cache of these films depends on.
    version = next(filter(None, map(segmenter_of, preparations)))
    _segmenter(version)  # before many threads ask for it at once
    cut = preparations[0].cut
    if cut and not any(preparation.outlined for preparation in preparations):
        return [
            replace(sample, image=partial(_cut, sample.image, version), masks=None, structures=frozenset())
            for sample in samples
        ]
    return [
        replace(
            sample,
            image=partial(_cut, sample.image, version) if cut else sample.image,
            masks=partial(_outlined, sample.image, version, cut),
            structures=frozenset(STRUCTURES),
        )
        for sample in samples
    ]


def segmenter_of(preparation: Preparation) -> str:
    """SHA-256 of the segmenter whose outlines a preparation asks for; empty where it asks for none."""
    return "" if preparation.region == "film" else read_card(find(SEGMENTER)).sha256


def _cut(image: Pixels, version: str) -> Array:
    """The part of a film that holds the chest, float32 in [0, 1]; all of it where the outlines show none."""
    return pixels_of(image)[chest(_drawn(image, version, cut=True))]


def _outlined(image: Pixels, version: str, cut: bool) -> Array:
    """The label map of a film, (H, W) uint8, or of the part that `_cut` leaves of it."""
    mask = _drawn(image, version, cut)
    return mask[chest(mask)] if cut else mask


def _drawn(image: Pixels, version: str, cut: bool) -> Array:
    """The label map (H, W) uint8 of a film; a blank one where it is to be cut by outlines of no chest."""
    return _outlines(image, stamp(image), version, cut)


# Asked for twice in a row, for the film and for its label map.
@lru_cache(maxsize=2 * cores())
def _outlines(image: Pixels, content: str, version: str, cut: bool) -> Array:  # noqa: ARG001 - the key's part
    pixels = pixels_of(image)
    anatomy = segment(_segmenter(version), pixels)
    # Of a chest that is only partly found, disease may be what hides the rest.
    return np.zeros_like(anatomy.mask) if cut and implausible(anatomy) else anatomy.mask


@cache
def _segmenter(version: str) -> Runtime:
    """The shipped segmenter, loaded once for all films."""
    runtime = Runtime(find(SEGMENTER), threads=1)
    assert runtime.card.sha256 == version  # noqa: S101 - what a cache's name promises
    return runtime
