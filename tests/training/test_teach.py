"""What teachers say becomes a target, and of a film those speak who never learned it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.card import Card, Preparation
from hilum.data.cache import Cache
from hilum.data.split import Split
from hilum.errors import ConfigError
from hilum.training import teach
from hilum.training.batches import Films
from hilum.training.teach import taught
from hilum.types import Array, Sample

SIZE = 32
SPLIT = Split(parts={"p0": "0", "p1": "1", "p2": "2"}, sha256="the split's")


class Teacher:
    """Says one logit of every film and label."""

    def __init__(self, logit: float, fold: int, split: str = SPLIT.sha256, **card: object) -> None:
        self.logit = logit
        about = {"name": "x", "version": "1", "task": "classify", "architecture": "x"}
        about |= {"labels": ("Edema", "Mass"), "preparation": Preparation(size=SIZE), "split_sha256": split}
        self.card = Card.model_validate(about | {"config": {"fold": fold}} | card)

    def __call__(self, films: Array) -> dict[str, Array]:
        return {"logits": np.full((len(films), 2), self.logit, np.float32)}


@pytest.fixture
def films() -> Films:
    carried = [{"Edema": 1.0}, {"Edema": 0.0}, {"Edema": float("nan")}]
    samples = tuple(
        Sample(id=f"f{i}", patient=f"p{i}", image=Path("x"), labels=one) for i, one in enumerate(carried)
    )
    cache = Cache(samples=samples, films=np.zeros((3, SIZE, SIZE), np.uint8), masks=None, failures={})
    return Films(cache=cache, labels=("Edema",), preparation=Preparation(size=SIZE), strength=0.0, seed=0)


def with_teachers(monkeypatch: pytest.MonkeyPatch, **teachers: Teacher) -> None:
    monkeypatch.setattr(teach, "find", lambda name: name)
    monkeypatch.setattr(teach, "Runtime", teachers.__getitem__)


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_targets_lie_between_label_and_teacher_and_are_what_is_learned(
    films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_teachers(monkeypatch, one=Teacher(2.0, 0, split="another"))
    learned = taught(films, ["one"], 0.25, SPLIT)
    p = sigmoid(2)
    expected = [0.75 + 0.25 * p, 0.25 * p, p]  # of the unknown one the teacher alone speaks
    assert [float(learned[0, i]["labels"][0]) for i in range(3)] == pytest.approx(expected, rel=1e-6)
    assert films.targets is None


def test_of_a_film_those_speak_who_never_learned_it(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher of fold 0 never learned p0's film; p2's was learned by both, so both speak."""
    with_teachers(monkeypatch, zero=Teacher(1.0, 0), one=Teacher(-2.0, 1))
    learned = taught(films, ["zero", "one"], 1.0, SPLIT)
    assert learned.targets is not None
    both = (sigmoid(1) + sigmoid(-2)) / 2
    assert learned.targets[:, 0] == pytest.approx([sigmoid(1), sigmoid(-2), both])


def test_a_teacher_speaks_of_folds_that_were_held_back_from_it(
    films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of folds 1 and 2 never learned fold 0 either: of its film both speak, of theirs one each."""
    with_teachers(
        monkeypatch,
        one=Teacher(1.0, 1, config={"fold": 1, "held": [0]}),
        two=Teacher(-2.0, 2, config={"fold": 2, "held": [0]}),
    )
    learned = taught(films, ["one", "two"], 1.0, SPLIT)
    assert learned.targets is not None
    both = (sigmoid(1) + sigmoid(-2)) / 2
    assert learned.targets[:, 0] == pytest.approx([both, sigmoid(1), sigmoid(-2)])


def test_a_teacher_of_other_films_or_labels_is_refused(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    with_teachers(
        monkeypatch,
        large=Teacher(0.0, 0, preparation=Preparation(size=64)),
        other=Teacher(0.0, 0, labels=("Mass", "Hernia")),
    )
    with pytest.raises(ConfigError, match="large: takes films of side 64"):
        taught(films, ["large"], 0.5, SPLIT)
    with pytest.raises(ConfigError, match="other: does not score Edema"):
        taught(films, ["other"], 0.5, SPLIT)
