"""Pictures that are no chest films: those in other packages, and drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from hilum.data.opened import pixels_of
from hilum.data.phantom import count_and_seed
from hilum.data.wrong import OTHER, labelled
from hilum.errors import DataError
from hilum.types import Array, Sample

# Module -> its package, a folder, and one encoding of each picture. Pydicom's two packages have CT, MR,
# ultrasound, nuclear medicine, a face and an extremity; headers are not used.
_BROUGHT: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "skimage": (
        "scikit-image",
        "data",
        (
            "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "chessboard_GRAY.png",
            "clock_motion.png", "coffee.png", "coins.png", "color.png", "grass.png", "gravel.png",
            "horse.png", "hubble_deep_field.jpg", "ihc.png", "logo.png", "microaneurysms.png", "moon.png",
            "motorcycle_left.png", "page.png", "phantom.png", "retina.jpg", "rocket.jpg", "text.png",
        ),
    ),
    "sklearn": ("scikit-learn", "datasets/images", ("china.jpg", "flower.jpg")),
    "pydicom": (
        "pydicom",
        "data/test_files",
        (
            "693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "MR_small.dcm",
            "examples_overlay.dcm", "examples_palette.dcm", "examples_rgb_color.dcm",
        ),
    ),
    "data_store": (
        "pydicom-data",
        "data",
        (
            "JPGLosslessP14SV1_1s_1f_8b.dcm", "MR2_UNCR.dcm", "OBXXXX1A.dcm", "OT-PAL-8-face.dcm",
            "RG3_UNCR.dcm", "US1_UNCR.dcm", "bad_sequence.dcm", "color-px.dcm", "explicit_VR-UN.dcm",
            "gdcm-US-ALOKA-16.dcm",
        ),
    ),
}  # fmt: skip

_SIDE = 256  # of drawn pictures, pixels


def samples(spec: str) -> list[Sample]:
    """``COUNT`` or ``COUNT@SEED``: turned and toned parts of the pictures, and drawn ones, in turn.

    The name of the picture or drawing counts as the patient, so that a split keeps its parts together. Raises
    DataError for a malformed spec, and if a package is missing.
    """
    count, seed = count_and_seed("pictures", spec)
    sources: list[Path | str] = [*_files(), *_DRAWN]
    return [_sample(sources[i % len(sources)], seed, i) for i in range(count)]


def _files() -> list[Path]:
    """The pictures of all packages."""
    found = []
    for module, (package, folder, names) in _BROUGHT.items():
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise DataError(f"pictures: needs the package {package}; pip install {package}")
        found += [Path(spec.origin).parent / folder / name for name in names]
    return found


def _sample(source: Path | str, seed: int, i: int) -> Sample:
    name = source.name if isinstance(source, Path) else source
    return Sample(
        id=f"pictures:{name}-{seed}-{i}",
        patient=f"pictures:{name}",
        image=partial(_part, source, seed, i),
        labels=labelled(OTHER),
        site="pictures",
    )


def _part(source: Path | str, seed: int, i: int) -> Array:
    """A random part of a picture, at least half of each side, randomly turned, mirrored and toned."""
    rng = np.random.default_rng([seed, i])
    whole = pixels_of(source) if isinstance(source, Path) else _DRAWN[source](rng)
    tall, wide = (max(1, int(side * rng.uniform(0.5, 1))) for side in whole.shape)
    top, left = rng.integers(0, whole.shape[0] - tall + 1), rng.integers(0, whole.shape[1] - wide + 1)
    part = np.rot90(whole[top : top + tall, left : left + wide], int(rng.integers(4)))
    part = part[:, ::-1] if rng.random() < 0.5 else part
    part = 1 - part if rng.random() < 0.3 else part
    return np.asarray(np.ascontiguousarray(part) ** np.float32(np.exp(rng.uniform(-0.5, 0.5))), np.float32)


def _noise(rng: np.random.Generator) -> Array:
    """Nothing but noise, as of an unexposed plate."""
    return np.asarray(np.clip(rng.normal(0.5, rng.uniform(0.02, 0.3), (_SIDE, _SIDE)), 0, 1), np.float32)


def _clouds(rng: np.random.Generator) -> Array:
    """Blots of several sizes."""
    total = np.zeros((_SIDE, _SIDE), np.float32)
    for cells in (3, 6, 12, 24, 48):
        blots = rng.normal(0, 1 / cells ** rng.uniform(0.2, 1), (cells, cells)).astype(np.float32)
        total += cv2.resize(blots, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return _ranged(total)


def _ramp(rng: np.random.Generator) -> Array:
    """Light that falls off to one side, or around a spot."""
    y, x = np.indices((_SIDE, _SIDE), np.float32) / _SIDE
    angle = rng.uniform(0, 2 * np.pi)
    light = y * np.sin(angle) + x * np.cos(angle)
    if rng.random() < 0.5:
        light = np.hypot(y - rng.random(), x - rng.random())
    return _ranged(light + rng.normal(0, rng.uniform(0, 0.05), light.shape))


def _stripes(rng: np.random.Generator) -> Array:
    """A test pattern of lines."""
    y, x = np.indices((_SIDE, _SIDE), np.float32) / _SIDE
    waves = [
        np.sin(2 * np.pi * rng.uniform(1, 12) * (y * np.sin(a) + x * np.cos(a)))
        for a in rng.uniform(0, np.pi, 2)
    ]
    return _ranged(waves[0] + (rng.random() < 0.5) * waves[1])


def _letters(rng: np.random.Generator) -> Array:
    """A written page: a report, not a film."""
    page = np.full((_SIDE, _SIDE), rng.integers(190, 256), np.uint8)
    size, step = rng.uniform(0.25, 0.7), int(rng.integers(10, 26))
    for row in range(step, _SIDE, step):
        words = "".join(rng.choice(list("aeinorst lmdcu PRTL0123,. "), int(rng.integers(8, 60))))
        cv2.putText(page, words, (8, row), cv2.FONT_HERSHEY_SIMPLEX, size, int(rng.integers(0, 80)))
    return page.astype(np.float32) / 255


def _chart(rng: np.random.Generator) -> Array:
    """Axes, and bars or a line."""
    chart = np.ones((_SIDE, _SIDE), np.float32)
    cv2.rectangle(chart, (30, 20), (_SIDE - 15, _SIDE - 30), 0.0, 1)
    n = int(rng.integers(4, 30))
    places = np.linspace(36, _SIDE - 24, n).astype(int)
    tops = rng.integers(25, _SIDE - 35, n)
    if rng.random() < 0.5:
        for x, y in zip(places.tolist(), tops.tolist(), strict=True):
            cv2.rectangle(chart, (x, y), (x + max(2, 150 // n), _SIDE - 30), float(rng.uniform(0, 0.7)), -1)
    else:
        cv2.polylines(chart, [np.column_stack([places, tops]).astype(np.int32)], False, 0.2, 2)
    return chart


def _shapes(rng: np.random.Generator) -> Array:
    """Discs and boxes of any grey."""
    canvas = np.full((_SIDE, _SIDE), rng.random(), np.float32)
    for _ in range(int(rng.integers(2, 20))):
        x, y, r = (int(v) for v in rng.integers(5, _SIDE, 3))
        grey = float(rng.random())
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), r // 3, grey, -1)
        else:
            cv2.rectangle(canvas, (x, y), (x + r // 2, y + r // 3), grey, -1)
    return canvas


def _limb(rng: np.random.Generator) -> Array:
    """Long bones in soft tissue on black, as of an arm or a leg."""
    canvas = np.zeros((_SIDE, _SIDE), np.float32)
    middle, lean = rng.uniform(80, 176), rng.normal(0, 30)
    wide = int(rng.uniform(50, 120))
    ends = (int(middle - lean), 0), (int(middle + lean), _SIDE)
    cv2.line(canvas, *ends, float(rng.uniform(0.25, 0.5)), wide)
    joint = int(rng.uniform(80, 176))
    for offset in rng.choice([-0.2, 0, 0.2], int(rng.integers(1, 3)), replace=False) * wide:
        shift = int(offset)
        grey, thick = float(rng.uniform(0.65, 1)), int(rng.uniform(0.12, 0.3) * wide)
        start, end = ((x + shift, y) for x, y in ends)
        cv2.line(canvas, start, end, grey, thick)
        cv2.line(canvas, start, end, grey * 0.8, max(1, thick // 2))
        cv2.circle(canvas, (int(middle) + shift, joint), int(0.8 * thick), grey, -1)
        cv2.line(canvas, (0, joint), (_SIDE, joint), float(canvas[joint, 0] * 0.9), 3)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 3)
    return np.asarray(np.clip(canvas + rng.normal(0, 0.02, canvas.shape), 0, 1), np.float32)


def _ranged(picture: Array) -> Array:
    """Stretched to [0, 1], float32."""
    low, high = picture.min(), picture.max()
    return np.asarray((picture - low) / max(high - low, 1e-6), np.float32)


_DRAWN: dict[str, Callable[[np.random.Generator], Array]] = {
    "noise": _noise,
    "clouds": _clouds,
    "ramp": _ramp,
    "stripes": _stripes,
    "letters": _letters,
    "chart": _chart,
    "shapes": _shapes,
    "limb": _limb,
}
