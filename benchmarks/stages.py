"""Time of each stage of ``hilum predict``, from reading a film to writing its files, and their overlap.

Run: python benchmarks/stages.py (films are generated: PNG and uncompressed DICOM of 1024 and 2500 pixels)

First, each stage is timed alone, one film at a time (median over the films). Then the rate of the whole
command, start included, is compared with what reading and the networks alone allow: the same films are read
with one thread per core, and the networks run on prepared films.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from predict import predict

from hilum import pipeline as path_of_films
from hilum.data.phantom import draw
from hilum.pipeline import Pipeline, load
from hilum.reading.reader import read
from hilum.report_files import write
from hilum.runtime import Runtime

FILMS, BLOCKS = {1024: 240, 2500: 80}, 3
STAGES = ("recognise", "segment", "measure", "classify", "_heatmaps")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for side in (1024, 2500):
            folder = Path(name) / str(side)
            draw_films(folder, side)
            for form in ("png", "dcm"):
                films = folder / form
                print(f"\n{FILMS[side]} films of {side} x {side} as {form.upper()}, {os.cpu_count()} cores\n")
                told = apart(films)
                print("| stage | ms a film |\n|---|---|")
                for stage, spent in told.items():
                    print(f"| {stage} | {spent:.1f} |")
                whole, allowed = together(films, Path(name) / f"out-{side}-{form}")
                print(f"\nhilum predict: {whole:.1f} films a second, {whole / allowed:.0%} of {allowed:.1f}")


def draw_films(folder: Path, side: int) -> None:
    """The same films as PNG and as uncompressed DICOM."""
    for form in ("png", "dcm"):
        (folder / form).mkdir(parents=True)
    for i in range(FILMS[side]):
        pixels = cv2.resize(draw(i % 10, size=1024).pixels, (side, side))
        cv2.imwrite(str(folder / "png" / f"{i:03}.png"), pixels)
        dicom(pixels).save_as(folder / "dcm" / f"{i:03}.dcm", enforce_file_format=True)


def dicom(pixels: np.ndarray) -> Any:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.Modality, film.BodyPartExamined, film.ViewPosition = "CR", "CHEST", "PA"
    film.PixelSpacing = [0.2, 0.2]
    film.set_pixel_data((pixels.astype(np.uint16) << 4), "MONOCHROME2", 12)
    return film


def apart(films: Path) -> dict[str, float]:
    """Milliseconds of each stage for one film at a time, median over the films."""
    spent: dict[str, list[float]] = defaultdict(list)
    pipeline = load()
    out = films.parent / f"apart-{films.name}"
    with timed_stages(spent):
        for source in sorted(films.iterdir())[:40]:
            film = clocked(spent, "read", read)(source)
            report = clocked(spent, "all of the pipeline", pipeline)(film)
            for form in ("json", "mask", "png"):
                clocked(spent, f"write {form}", write)(source.name, report, out, [form])
    named = {stage: statistics.median(seconds) * 1000 for stage, seconds in spent.items()}
    inside = sum(named[stage] for stage in STAGES)
    whole = named.pop("all of the pipeline")
    first = {"read": named.pop("read")}
    middle = {stage.strip("_"): named.pop(stage) for stage in STAGES}
    return {**first, **middle, "the rest of the pipeline": whole - inside, **named}


@contextmanager
def timed_stages(spent: dict[str, list[float]]) -> Iterator[None]:
    """Time every stage that `Pipeline.analyse` calls."""
    kept = {stage: getattr(path_of_films, stage) for stage in STAGES}
    for stage, function in kept.items():
        setattr(path_of_films, stage, clocked(spent, stage, function))
    try:
        yield
    finally:
        for stage, function in kept.items():
            setattr(path_of_films, stage, function)


def clocked(spent: dict[str, list[float]], stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage].append(time.perf_counter() - began)

    return call


def together(films: Path, out: Path) -> tuple[float, float]:
    """Films a second of the command, and what reading and the networks alone allow, measured in turns."""
    pipeline, count = load(explain="none", threads=1), len(list(films.iterdir()))
    bare, whole = [], []
    for block in range(BLOCKS):
        bare.append(count / (decoding(films) + networks(pipeline, count)))
        took, _ = predict(films, out / f"{block}", "csv,json,mask")
        whole.append(count / took)
    return statistics.median(whole), statistics.median(bare)


def decoding(films: Path) -> float:
    """Seconds to read all films with one thread per core; no film is kept."""
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda source: read(source).pixels.shape, sorted(films.iterdir())):
            pass
    return time.perf_counter() - began


def networks(pipeline: Pipeline, count: int) -> float:
    """Seconds of the three networks for so many prepared films, one film per core at a time."""
    assert pipeline.gate and pipeline.classifier  # noqa: S101 - the shipped pipeline has both
    three = [(one, prepared(one)) for one in (pipeline.gate, pipeline.segmenter, pipeline.classifier)]

    def one(_: int) -> None:
        for network, film in three:
            network(film)

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(one, range(count)):
            pass
    return time.perf_counter() - began


def prepared(network: Runtime) -> np.ndarray:
    shape = network.card.preparation
    return np.zeros((1, shape.channels, shape.size, shape.size), np.float32)


if __name__ == "__main__":
    main()
