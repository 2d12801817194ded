"""Detection of burned-in annotations: on phantoms with and without them, and on real films.

Run: python benchmarks/burnt_in.py [FOLDER...]. Words are drawn on phantoms of 1,024 pixels in several
heights, places and grey levels. In folders of real films, which may have annotations, detections are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from hilum.data.burnt_in import words
from hilum.data.phantom import draw
from hilum.errors import HilumError
from hilum.reading.files import film_paths
from hilum.reading.reader import read
from hilum.types import Array

FILMS, EACH, SIDE, SEED = 100, 10, 1024, 2026
HEIGHTS = (8, 16, 40)  # pixels of a capital letter
WORDS = ("DOE", "MILLER", "MILLER JANE 1948-03-12")
GREYS = (30, 60, 120)  # of 255, in a black corner
PLACES = {"corner": (0.03, 0.06), "foot": (0.35, 0.97), "middle": (0.4, 0.5)}


def lettered(film: Array, text: str, height: int, at: tuple[float, float], grey: int = 250) -> Array:
    """A film (H, W) uint8 with a text; `at`: its lower left corner as shares of width and height."""
    scale = height / 21.5  # a capital of OpenCV's fonts is 21.5 pixels high at scale 1
    corner = round(at[0] * film.shape[1]), round(at[1] * film.shape[0])
    drawn = film.copy()
    cv2.putText(
        drawn, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, grey, max(1, round(scale * 1.6)), cv2.LINE_AA
    )
    return drawn


def share(films: Iterator[Array]) -> str:
    found = [words(film.astype(np.float32) / 255) > 0 for film in films]
    return f"{sum(found)} of {len(found)}"


def main() -> None:
    films = [draw(SEED + i, size=SIDE).pixels for i in range(FILMS)]
    print(f"phantoms with only a side marker\t{share(iter(films))}")
    marked = (lettered(film, "R AP", 24, PLACES["corner"]) for film in films)
    print(f"phantoms with R AP as well\t{share(marked)}", flush=True)
    for text, height, place in product(WORDS, HEIGHTS, PLACES):
        made = (lettered(film, text, height, PLACES[place]) for film in films[:EACH])
        print(f"{height} px\t{text}\t{place}\t{share(made)}", flush=True)
    for grey in GREYS:
        made = (lettered(film, WORDS[-1], 16, PLACES["corner"], grey) for film in films[:EACH])
        print(f"16 px\t{WORDS[-1]}\tcorner, grey {grey}\t{share(made)}", flush=True)
    for folder in sys.argv[1:]:
        print(f"{Path(folder).name}\t{share(real(Path(folder)))}")


def real(folder: Path) -> Iterator[Array]:
    for path in film_paths(folder)[:300]:
        try:
            yield read(path).pixels * 255
        except HilumError:
            continue


if __name__ == "__main__":
    main()
