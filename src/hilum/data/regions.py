"""Films for classifiers that take a part of the film, or masks; hilum-lungs makes the masks."""

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
    """The samples from which inputs of all these preparations can be made: cut, with masks, or unchanged.

    Masks always come from hilum-lungs, as for a user's film, even if the data have masks. Raises ConfigError
    if some preparations want the films cut and others whole.
    """
    if all(preparation.region == "film" for preparation in preparations):
        return [replace(sample, masks=None, structures=frozenset()) for sample in samples]
    if len({preparation.cut for preparation in preparations}) > 1:
        raise ConfigError("one of the models takes films cut to the chest, another whole ones: use either")
    # A cache of these films depends on the graph's hash.
    version = next(filter(None, map(segmenter_of, preparations)))
    _segmenter(version)  # before many threads need it at once
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
    """SHA-256 of the segmenter whose masks a preparation needs; empty if it needs none."""
    return "" if preparation.region == "film" else read_card(find(SEGMENTER)).sha256


def _cut(image: Pixels, version: str) -> Array:
    """The part of a film that holds the chest, float32 in [0, 1]; all of it if the mask shows no chest."""
    return pixels_of(image)[chest(_drawn(image, version, cut=True))]


def _outlined(image: Pixels, version: str, cut: bool) -> Array:
    """The label map of a film, (H, W) uint8, or of the part that `_cut` returns."""
    mask = _drawn(image, version, cut)
    return mask[chest(mask)] if cut else mask


def _drawn(image: Pixels, version: str, cut: bool) -> Array:
    """The label map (H, W) uint8 of a film; blank if `cut` and it shows no plausible chest."""
    return _outlines(image, stamp(image), version, cut)


# Needed twice in a row: for the film and for its label map.
@lru_cache(maxsize=2 * cores())
def _outlines(image: Pixels, content: str, version: str, cut: bool) -> Array:  # noqa: ARG001 - the key's part
    pixels = pixels_of(image)
    anatomy = segment(_segmenter(version), pixels)
    # If only a part of a chest is found, disease may hide the rest.
    return np.zeros_like(anatomy.mask) if cut and implausible(anatomy) else anatomy.mask


@cache
def _segmenter(version: str) -> Runtime:
    """The shipped segmenter, loaded once for all films."""
    runtime = Runtime(find(SEGMENTER), threads=1)
    assert runtime.card.sha256 == version  # noqa: S101 - the name of a cache depends on it
    return runtime
