"""From a film to its Anatomy: outlines on the film's own pixels, and how far each can be trusted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hilum.card import Reliability
from hilum.outline import in_order, outline
from hilum.prepare import prepare
from hilum.quality import judge, promises_of
from hilum.runtime import Runtime
from hilum.types import STRUCTURES, Anatomy, Array


def segment(runtime: Runtime, film: Array) -> Anatomy:
    """Segment a film (H, W) float32 in [0, 1]."""
    height, width = film.shape
    return anatomy(outputs(runtime, film), runtime.card.reliability, (height, width))


def outputs(runtime: Runtime, film: Array) -> Array:
    """A segmenter's logits of a film, (3, S, S) in the order of STRUCTURES."""
    logits = runtime(prepare(film, runtime.card.preparation)[None])["logits"][0]
    return in_order(logits, runtime.card.labels)


def anatomy(logits: Array, reliability: Mapping[str, Reliability], shape: tuple[int, int]) -> Anatomy:
    """Logits as `outputs` gives them -> Anatomy on (H, W) pixels."""
    # The network was never trained on a structure that is not in the card.
    shown = [name in reliability or not reliability for name in STRUCTURES]
    logits = np.where(np.array(shown)[:, None, None], logits, np.float32(-20))
    quality = judge(promises_of(logits), reliability)
    poor = {name for name, fitted in reliability.items() if quality[name] < fitted.threshold}
    poor |= {name for name, yes in zip(STRUCTURES, shown, strict=True) if not yes}
    mask = outline(logits, shape)
    if heart_spills(mask):
        poor.add("heart")
    needed = {name: fitted.threshold for name, fitted in reliability.items()}
    return Anatomy(mask=mask, quality=quality, unreliable=frozenset(poor), needed=needed)


def heart_spills(mask: Array) -> bool:
    """Whether the heart of a label map reaches beyond the lungs' outer edges, or is larger than both of them.

    A network can be sure of such a heart; no chest has one.
    """
    heart, lungs = mask == 3, (mask == 1) | (mask == 2)
    if not heart.any() or not lungs.any():
        return False
    inner, outer = (np.flatnonzero(part.any(axis=0)) for part in (heart, lungs))
    beyond = inner[0] < outer[0] or inner[-1] > outer[-1]
    return bool(beyond or np.count_nonzero(heart) > np.count_nonzero(lungs))
