"""Distillation: scores of trained models as targets, blended with the films' own labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hilum.calibration.calibrate import probabilities
from hilum.data.split import Split
from hilum.errors import ConfigError
from hilum.evaluation.evaluate import logits_of
from hilum.runtime import Runtime, find
from hilum.training.batches import Films


def taught(films: Films, teachers: Sequence[str], trust: float, split: Split) -> Films:
    """The training films with targets `trust` (0..1) of the way from their labels to the teachers' scores.

    For each film, the mean of those teachers that were trained by this split and did not learn from the film;
    if there is none, of all teachers. So the folds' models of a cross-validation teach without having seen
    the answers (out-of-fold self-distillation). Where a label is unknown, the teachers alone set the target.
    Raises ConfigError if these films do not suit a teacher, or a teacher lacks one of the labels.
    """
    samples = films.cache.samples
    said = np.zeros((len(teachers), len(samples), len(films.labels)))
    fresh = np.zeros((len(teachers), len(samples)), bool)
    for t, name in enumerate(teachers):
        runtime = Runtime(find(name))
        card = runtime.card
        if card.preparation.size != films.preparation.size:
            raise ConfigError(
                f"{name}: takes films of side {card.preparation.size}; set preparation.size to learn from it"
            )
        taught, learnt = card.preparation, films.preparation
        if taught.cut != learnt.cut or (taught.outlined and not learnt.outlined):
            raise ConfigError(
                f"{name}: sees the region {taught.region!r}; set preparation.region to learn from it"
            )
        if missing := set(films.labels) - set(card.labels):
            raise ConfigError(f"{name}: does not score {min(missing)}; leave it out of labels and auxiliary")
        places = [card.labels.index(label) for label in films.labels]
        said[t] = probabilities(logits_of(runtime, films.cache), card)[:, places]
        if card.split_sha256 == split.sha256:
            unseen = {str(fold) for fold in card.unlearned}
            fresh[t] = [split.parts.get(sample.patient) in unseen for sample in samples]
    heard = np.where(fresh.any(axis=0), fresh, True)
    mean = (said * heard[..., None]).sum(axis=0) / heard.sum(axis=0)[:, None]
    truth = films.cache.truth(films.labels)
    blended = np.where(np.isnan(truth), mean, (1 - trust) * truth + trust * mean)
    return replace(films, targets=blended.astype(np.float32))
