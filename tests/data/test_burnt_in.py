"""Lines of letters: the same as by comparing all shapes with all lines, but faster."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.data.burnt_in import FEWEST, _follows, _lines, _Shape


@pytest.mark.parametrize("seed", range(5))
def test_lines_are_those_of_comparing_all_with_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [
        _Shape(
            top=int(rng.integers(400)),
            left=int(rng.integers(1600)),
            height=int(rng.integers(6, 61)),
            width=int(rng.integers(2, 60)),
        )
        for _ in range(500)
    ]
    lines: list[list[_Shape]] = []
    for one in sorted(shapes, key=lambda shape: shape.left):
        line = next((line for line in lines if _follows(line[-1], one)), None)
        if line is None:
            lines.append([one])
        else:
            line.append(one)
    expected = [line for line in lines if len(line) >= FEWEST]
    assert expected and _lines(shapes) == expected


def test_a_film_of_many_specks_takes_no_time_that_grows_with_their_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("hilum.data.burnt_in._follows", lambda *_: asked.append(1) is not None)
    specks = [_Shape(top=0, left=left, height=6, width=2) for left in range(0, 4_000, 4)]
    assert not _lines(specks)
    assert len(asked) < len(specks) * 25  # and not 1,000 x 500
