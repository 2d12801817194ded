"""Cached films -> batches for torch: augmentation and order depend only on (seed, epoch, film)."""

from __future__ import annotations

import hilum.needs_train  # noqa: F401

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hilum.augment import CHANGES, augment, outlined, view
from hilum.card import Preparation
from hilum.data.cache import Cache
from hilum.data.masks import shown
from hilum.prepare import compose
from hilum.types import STRUCTURES, Array

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Films(Dataset[dict[str, Array]]):
    """Films of a cache with their targets, addressed by (draw, position).

    An item holds ``films`` (C, S, S) float32, and either ``labels`` (C,) float32 with NaN for unknown,
    or ``masks`` (S, S) uint8 with ``known`` (4,) bool: the three structures, and both lungs together. An
    epoch draws every film `views` times in a row; the second view may be of another film of the same
    patient.
    """

    cache: Cache
    labels: tuple[str, ...]  # empty: the targets are masks
    preparation: Preparation
    strength: float  # of the augmentation
    recipe: str = "general"  # of the augmentation: one of CHANGES, or "outlines", "views"
    seed: int
    views: int = 1
    targets: Array | None = None  # (N, C) float32, used instead of the labels: blended with teachers' scores

    def __len__(self) -> int:
        return len(self.cache.samples)

    def __getitem__(self, place: tuple[int, int]) -> dict[str, Array]:
        draw, i = place
        rng = np.random.default_rng([self.seed, draw, i])
        if draw % self.views:
            fellows = self._fellows[self.cache.samples[i].patient]
            i = fellows[rng.integers(len(fellows))]
        sample = self.cache.samples[i]
        film = self.cache.pixels(i)
        masks = self.cache.masks if not self.labels or self.preparation.outlined else None
        whole = None if masks is None else np.array(masks[i])
        if self.recipe == "views":
            film, mask = view(film, rng, strength=self.strength), None
        elif self.recipe == "outlines" and whole is not None and not self.labels:
            film, mask = outlined(film, whole, rng, strength=self.strength)
        else:
            film, mask = CHANGES.get(self.recipe, augment)(film, whole, rng, strength=self.strength)
        item: dict[str, Array] = {"films": compose(film, mask, self.preparation)}
        if self.labels or mask is None or whole is None:
            carried = [sample.labels.get(name, np.nan) for name in self.labels]
            item["labels"] = np.array(carried if self.targets is None else self.targets[i], np.float32)
        else:
            # From the unchanged mask: the augmentation may have moved a lung out of the film.
            item |= {"masks": mask, "known": known(shown(sample.structures, whole))}
        return item

    @cached_property
    def _fellows(self) -> dict[str, list[int]]:
        """Indices of each patient's films."""
        places: dict[str, list[int]] = defaultdict(list)
        for i, sample in enumerate(self.cache.samples):
            places[sample.patient].append(i)
        return places


def known(structures: frozenset[str]) -> Array:
    """Whether a film's mask shows each of the three structures and, last, only both lungs together."""
    return np.array([name in structures for name in (*STRUCTURES, "lungs")])


@dataclass(frozen=True, slots=True)
class Shuffled(Sampler[list[tuple[int, int]]]):
    """One process's batches of one epoch, from a given step on; every step has the full size everywhere."""

    films: int
    batch: int  # over all processes
    seed: int
    epoch: int
    start: int = 0  # the first step to do
    rank: int = 0
    processes: int = 1
    extra: int = 0  # the last films; an epoch draws at most as many of them as there are others
    views: int = 1  # of each film
    odds: Array | None = None  # (films,) probabilities of being drawn; None: each film once

    def __len__(self) -> int:
        return max(1, (self.films - self.extra + self._drawn) // self.batch) - self.start

    @property
    def _drawn(self) -> int:
        return min(self.extra, self.films - self.extra)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        own = self.films - self.extra
        order = rng.permutation(own) if self.odds is None else rng.choice(own, own, p=self.odds)
        if self.extra:
            order = rng.permutation(np.concatenate([order, own + rng.permutation(self.extra)[: self._drawn]]))
        for step in range(self.start, self.start + len(self)):
            whole = order[step * self.batch : (step + 1) * self.batch]
            own_share = whole[self.rank :: self.processes]
            yield [(self.epoch * self.views + v, int(i)) for i in own_share for v in range(self.views)]


def loader(films: Films, order: Sampler[list[tuple[int, int]]], workers: int) -> DataLoader[Batch]:
    """A torch loader; its worker processes use one thread each."""
    if workers:
        # Threads do not survive a fork: OpenCV in a worker would wait for its threads forever.
        cv2.setNumThreads(1)
    return DataLoader(
        films,  # type: ignore[arg-type]  # the loader yields the collated batch, not the item
        batch_sampler=order,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


def balanced(truth: Array, *, exclusive: bool) -> Array:
    """Probabilities (N,) with which films are drawn, so that each label's films have the same total.

    Labels (N, C) are 1, 0 or NaN. A film with several labels counts for the rarest, or, if labels are
    `exclusive`, is never drawn. Films without a label form one more group. A film with unknown labels only is
    never drawn.
    """
    held = truth == 1
    rarest = np.where(held, held.sum(axis=0), len(truth) + 1).argmin(axis=1)
    group = np.where(held.any(axis=1), rarest, truth.shape[1])
    useful = held.sum(axis=1) == 1 if exclusive else ~np.isnan(truth).all(axis=1)
    _, which, sizes = np.unique(group[useful], return_inverse=True, return_counts=True)
    odds = np.zeros(len(truth))
    odds[useful] = 1 / (len(sizes) * sizes[which])
    return odds


def mixed(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """MixUp: each film of the batch, and its labels, blended with another film of the batch.

    The share is drawn once for the batch, from Beta(`alpha`, `alpha`). A label unknown on either film is
    unknown. Source: Zhang et al., ICLR 2018.
    """
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(batch["films"])))
    return {key: share * value + (1 - share) * value[other] for key, value in batch.items()}


def patched(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """CutMix: one square of every film is replaced by another film's, and labels are blended by area.

    Its area is drawn from Beta(`alpha`, `alpha`); its place is the same in all films. A label unknown on
    either film is unknown. Source: Yun et al., ICCV 2019.
    """
    films = batch["films"].clone()
    side = films.shape[-1]
    cut = round(side * float(np.sqrt(rng.beta(alpha, alpha))))
    top, left = rng.integers(0, side - cut + 1, 2)
    other = torch.from_numpy(rng.permutation(len(films)))
    box = (..., slice(top, top + cut), slice(left, left + cut))
    films[box] = batch["films"][other][box]
    share = (cut / side) ** 2
    return {"films": films, "labels": (1 - share) * batch["labels"] + share * batch["labels"][other]}


def in_order(films: Films, batch: int) -> Iterator[Batch]:
    """Every film once, or in each of its views, in order; the last batch may be smaller."""
    for start in range(0, len(films), batch):
        places = range(start, min(start + batch, len(films)))
        items = [films[v, i] for i in places for v in range(films.views)]
        yield {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}
