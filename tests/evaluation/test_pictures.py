"""Pictures of an evaluation: the worst films first, each once, and the errors of the ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.data.cache import Cache
from hilum.evaluation import pictures as evaluate_pictures
from hilum.evaluation.figures import Evaluation
from hilum.evaluation.pictures import write_pictures
from hilum.types import Anatomy, Array, Sample

SIDE = 64
FOUND = np.zeros((SIDE, SIDE), np.uint8)
FOUND[10:50, 40:60] = 2


@pytest.fixture
def cache() -> Cache:
    masks = np.zeros((25, SIDE, SIDE), np.uint8)
    masks[:, 10:50, 8:28] = 1
    samples = tuple(Sample(id=f"f{i}", patient=f"p{i}", image=Path("x.png")) for i in range(25))
    return Cache(samples=samples, films=np.zeros_like(masks), masks=masks, failures={})


def outline(index: int, dice: float, structure: str = "lungs", condition: str = "clean") -> dict[str, Any]:
    about = {"index": index, "film": f"f{index}", "structure": structure, "condition": condition}
    return {**about, "Dice": dice, "quality": 0.9, "flagged": 0}


def ratio(index: int, true: float | None, found: float | None, condition: str = "clean") -> dict[str, Any]:
    return {"index": index, "condition": condition, "true ratio": true, "ratio": found}


def test_the_sheet_shows_the_worst_films_first_each_once(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def segment(_: object, film: Array) -> Anatomy:
        shown.append(round(float(film[0, 0]) * 255))
        return Anatomy(mask=FOUND, quality={})

    monkeypatch.setattr(evaluate_pictures, "segment", segment)
    cache.films[:, 0, 0] = np.arange(25)
    rows = [outline(i, 0.99 - i / 100) for i in range(25)]
    rows += [outline(3, 0.1, "heart"), outline(24, 0.05, "right_lung")]  # one side alone has no say
    write_pictures(None, cache, Evaluation(figures=(), tables={"outlines": rows}), tmp_path, seed=0)  # type: ignore[arg-type]
    assert shown == [3, *range(24, 5, -1)]
    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet is not None
    assert sheet.shape == (4 * 320, 5 * 320, 3)
    first = sheet[:320, :320]
    # Known outlines are white, found ones in the structure's colour (BGR of the left lung's yellow).
    assert (first[150, 30:50] > 150).all(axis=-1).any()
    assert (np.abs(first[150, 190:210].astype(int) - (66, 228, 240)).max(axis=-1) < 60).any()
    assert not (tmp_path / "worst-stress.png").exists()
    assert not (tmp_path / "ratio.png").exists()


def test_the_ratio_is_drawn_where_two_films_or_more_know_it(cache: Cache, tmp_path: Path) -> None:
    rows = [ratio(0, 0.5, 0.52), ratio(1, 0.4, None), ratio(2, None, 0.4), ratio(0, 0.5, 0.5, "blur")]
    write_pictures(None, cache, Evaluation(figures=(), tables={"ratios": rows}), tmp_path, seed=0)  # type: ignore[arg-type]
    assert not (tmp_path / "ratio.png").exists()
    rows.append(ratio(3, 0.45, 0.44))
    write_pictures(None, cache, Evaluation(figures=(), tables={"ratios": rows}), tmp_path, seed=0)  # type: ignore[arg-type]
    picture = cv2.imread(str(tmp_path / "ratio.png"))
    assert picture is not None
    assert picture.std() > 5
