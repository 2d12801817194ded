"""The gate: every reason it may give, and no reason for a chest film."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import tag_for_keyword

from hilum.dicom_grey import text
from hilum.gate import admit, implausible
from hilum.types import Anatomy, Origin, Radiograph

WORDS = {"modality": "Modality", "body_part": "BodyPartExamined"}


def film(
    shape: tuple[int, int] = (256, 256), view: str | None = None, header: dict[str, Any] | None = None
) -> Radiograph:
    dataset = None
    if header is not None:
        dataset = Dataset()
        for keyword, value in header.items():
            tag = tag_for_keyword(keyword)
            assert tag is not None
            # Real files hold values that the standard does not allow, such as lower case.
            dataset.add(DataElement(tag, "CS", value, validation_mode=IGNORE))
    said = {name: text(dataset, word) for name, word in WORDS.items()} if dataset is not None else {}
    origin = Origin(path="x", sha256="", format="DICOM" if said else "PNG", header=dataset, **said)
    return Radiograph(pixels=np.zeros(shape, np.float32), view=view, origin=origin)


def anatomy(right: float, left: float, quality: float = 0.95, left_quality: float | None = None) -> Anatomy:
    """Lungs that fill these shares of the image."""
    mask = np.zeros((100, 100), np.uint8)
    mask.flat[: round(right * mask.size)] = 1
    mask.flat[mask.size - round(left * mask.size) :] = 2
    other = quality if left_quality is None else left_quality
    return Anatomy(mask=mask, quality={"right_lung": quality, "left_lung": other, "heart": 0.0})


@pytest.mark.parametrize(
    "radiograph",
    [
        film(),
        film((64, 64)),
        film((2000, 1000)),
        film((1000, 2000)),
        film(view="PA"),
        film(view="AP"),
        film(header={}),
        film(header={"Modality": "CR", "BodyPartExamined": "CHEST"}),
        film(header={"Modality": "dx", "BodyPartExamined": "Port Chest"}),
        film(header={"Modality": "DX", "BodyPartExamined": ""}),
        film(header={"Modality": None, "BodyPartExamined": None}),
    ],
)
def test_a_frontal_chest_film_is_admitted(radiograph: Radiograph) -> None:
    assert admit(radiograph) == ()


@pytest.mark.parametrize(
    ("radiograph", "reason"),
    [
        (film((63, 100)), "100 x 63 pixels; the models need at least 64 a side"),
        (film((100, 63)), "63 x 100 pixels; the models need at least 64 a side"),
        (film((1001, 500)), "500 x 1001 pixels is too long for a chest film; crop it to the chest"),
        (film((500, 1001)), "1001 x 500 pixels is too long for a chest film; crop it to the chest"),
        *(
            (film(view=view), f"the header says view {view}; the models read frontal films only")
            for view in ("LL", "RL", "lateral", "LLD")
        ),
        *(
            (film(header={"Modality": m}), f"the header says modality {m}; the models read radiographs only")
            for m in ("CT", "MR", "MG", "US")
        ),
        *(
            (film(header={"BodyPartExamined": part}), "the header names another body part than the chest")
            for part in ("HAND", "ABDOMEN", "knee", "TSPINE")
        ),
    ],
)
def test_every_reason_to_refuse_a_film_is_said(radiograph: Radiograph, reason: str) -> None:
    assert admit(radiograph) == (reason,)


def test_all_reasons_are_said_at_once() -> None:
    wrong = film((20, 60), view="LL", header={"Modality": "CT", "BodyPartExamined": "HAND"})
    assert len(admit(wrong)) == 5


def test_plausible_lungs_give_no_reason() -> None:
    assert implausible(anatomy(0.15, 0.12)) == ()
    assert implausible(anatomy(0.05, 0.05, quality=0.75)) == ()  # the least of each
    assert implausible(anatomy(0.02, 0.20)) == ()  # one lung nearly white


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (anatomy(0.0, 0.0), ("no right lung found", "no left lung found")),
        (anatomy(0.01, 0.15), ("no right lung found",)),
        (anatomy(0.15, 0.01), ("no left lung found",)),
        (anatomy(0.04, 0.05), ("the lungs fill only 9% of the image; crop it to the chest",)),
        (anatomy(0.2, 0.2, 0.6), ("the lungs' outlines are unsure (quality 0.60, needs 0.75)",)),
        (anatomy(0.2, 0.2, 0.9, 0.74), ("the lungs' outlines are unsure (quality 0.74, needs 0.75)",)),
    ],
)
def test_every_reason_to_doubt_the_outlines_is_said(found: Anatomy, reasons: tuple[str, ...]) -> None:
    assert implausible(found) == reasons


def test_an_unsure_heart_alone_rejects_nothing() -> None:
    assert anatomy(0.2, 0.2).quality["heart"] == 0
    assert implausible(anatomy(0.2, 0.2)) == ()
