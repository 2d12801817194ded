"""The gate: every reason it may give, and no reason for a chest film."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import tag_for_keyword

from hilum.card import Preparation
from hilum.gate import admit, flag, implausible, refuse, shown, sure
from hilum.reading.dicom_grey import text
from hilum.types import MAKER, Anatomy, Array, Measurements, Origin, Radiograph, Reason

WORDS = {"modality": "Modality", "body_part": "BodyPartExamined"}


def film(
    shape: tuple[int, int] = (256, 256),
    view: str | None = None,
    header: dict[str, Any] | None = None,
    pixels: Array | None = None,
    age: float | None = None,
) -> Radiograph:
    dataset = None
    if header is not None:
        dataset = Dataset()
        for keyword, value in header.items():
            tag = tag_for_keyword(keyword)
            assert tag is not None
            # Real files hold values that the standard does not allow, such as lower case.
            dataset.add(DataElement(tag, "CS", value, validation_mode=IGNORE))
    told = {name: text(dataset, word) for name, word in WORDS.items()} if dataset is not None else {}
    kind = "DICOM" if told else "PNG"
    origin = Origin(path="x", sha256="", format=kind, header=dataset, age=age, **told)
    ramp = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return Radiograph(pixels=ramp if pixels is None else pixels, view=view, origin=origin)


def said(reasons: tuple[Reason, ...]) -> tuple[str, ...]:
    return tuple(reason.sentence for reason in reasons)


def codes(reasons: tuple[Reason, ...]) -> list[str]:
    return [reason.code for reason in reasons]


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
            for part in ("HAND", "ABDOMEN", "knee", "TSPINE", "COLUNA TORACICA")
        ),
    ],
)
def test_every_reason_to_refuse_a_film_is_said(radiograph: Radiograph, reason: str) -> None:
    assert said(admit(radiograph)) == (reason,)


@pytest.mark.parametrize("part", ["TÓRAX", "thorax pa", "UNKNOWN", "Other", "PULMÓN", "BRUSTKORB", "TORACE"])
def test_a_part_that_is_the_chest_or_is_not_said_is_no_reason(part: str) -> None:
    assert admit(film(header={"BodyPartExamined": part})) == ()


def test_what_hilum_made_is_no_film() -> None:
    assert codes(admit(film(header={"Manufacturer": MAKER}))) == ["result"]
    assert admit(film(header={"Manufacturer": "Another"})) == ()


def test_all_reasons_are_said_at_once() -> None:
    wrong = film((20, 60), view="LL", header={"Modality": "CT", "BodyPartExamined": "HAND"})
    assert codes(admit(wrong)) == ["small", "long", "lateral", "not-radiograph", "not-chest"]


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
    assert said(implausible(found)) == reasons
    assert set(codes(implausible(found))) == {"lungs"}


def test_an_unsure_heart_alone_rejects_nothing() -> None:
    assert anatomy(0.2, 0.2).quality["heart"] == 0
    assert implausible(anatomy(0.2, 0.2)) == ()


def plate(noise: float, size: int = 256) -> Array:
    grey = 0.4 + np.random.default_rng(0).normal(0, noise, (size, size))
    return np.asarray(np.clip(grey, 0, 1), np.float32)


@pytest.mark.parametrize("size", [64, 300, 2000])
def test_a_blank_plate_is_refused_and_a_faint_film_is_not(size: int) -> None:
    assert codes(admit(film(pixels=plate(0.002, size)))) == ["blank"]
    assert admit(film(pixels=plate(0.02, size))) == ()


def taken_for(**kinds: float) -> dict[str, float]:
    """What the network says, the rest being a frontal film."""
    names = {name.replace("_", "-"): value for name, value in kinds.items()}
    return {"frontal": 1 - sum(kinds.values()), **names}


@pytest.mark.parametrize(
    "kind", ["turned", "upside-down", "inverted", "cropped", "exposure", "photograph", "other"]
)
def test_each_wrong_kind_is_refused_by_name_with_a_remedy(kind: str) -> None:
    (reason,) = refuse({"frontal": 0.1, "mirrored": 0.05, kind: 0.85})
    assert reason.code == kind
    assert ";" in reason.sentence


def test_a_film_that_may_be_wrong_in_two_ways_is_refused_without_a_name() -> None:
    assert codes(refuse(taken_for(turned=0.45, cropped=0.4))) == ["other"]


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        (taken_for(), False),
        (taken_for(turned=0.49), False),
        (taken_for(turned=0.51), True),
        (taken_for(mirrored=1.0), False),
        (taken_for(mirrored=0.4, turned=0.55), True),
    ],
)
def test_what_is_more_likely_right_than_wrong_is_not_refused(kinds: dict[str, float], refused: bool) -> None:
    assert bool(refuse(kinds)) is refused


def test_odd_outlines_count_where_the_network_is_not_sure_or_not_there() -> None:
    assert sure(taken_for(turned=0.05, mirrored=0.9))
    assert not sure(taken_for(turned=0.15))
    assert not sure({})


def pointing(offset: float | None) -> Measurements:
    return Measurements(
        cardiothoracic_ratio=0.5, right_lung_fraction=0.2, left_lung_fraction=0.2, heart_offset=offset
    )


@pytest.mark.parametrize(
    ("kinds", "offset", "flagged"),
    [
        (taken_for(), 0.1, False),
        (taken_for(mirrored=0.8), 0.1, True),
        (taken_for(mirrored=0.8), None, True),
        (taken_for(mirrored=0.5), 0.1, False),
        (taken_for(mirrored=0.5), -0.1, True),
        (taken_for(mirrored=0.1), -0.1, False),
        (taken_for(mirrored=0.1, turned=0.85), None, False),
        ({}, -0.1, True),
        ({}, 0.1, False),
        ({}, None, False),
    ],
)
def test_a_mirrored_film_is_flagged_by_network_and_heart(
    kinds: dict[str, float], offset: float | None, flagged: bool
) -> None:
    assert codes(flag(film(), kinds, pointing(offset))) == ["mirrored"] * flagged


@pytest.mark.parametrize(
    ("age", "flagged"), [(None, False), (0.2, True), (17.9, True), (18, False), (80, False)]
)
def test_a_childs_film_is_flagged_and_not_refused(age: float | None, flagged: bool) -> None:
    assert codes(flag(film(age=age), taken_for(), None)) == ["child"] * flagged
    assert admit(film(age=age)) == ()


def test_a_film_with_odd_outlines_stays_whole_for_classifiers_that_see_the_chest_alone() -> None:
    crop, whole = (Preparation(size=64, region=region) for region in ("crop", "outlines"))
    good, odd = anatomy(0.2, 0.2), anatomy(0.2, 0.001)
    assert shown(good, crop) is good.mask and shown(odd, whole) is odd.mask
    assert not shown(odd, crop).any()


@pytest.mark.parametrize("view", ["LAO", "RPO", "OBLIQUE", "LL"])
def test_a_stated_view_that_is_not_frontal_is_refused(view: str) -> None:
    (reason,) = admit(film(view=view))
    assert reason.code == "lateral" and f"the header says view {view}" in reason.sentence


@pytest.mark.parametrize("modality", ["XA", "XC", "CT"])
def test_what_is_no_radiograph_is_refused(modality: str) -> None:
    assert codes(admit(film(header={"Modality": modality}))) == ["not-radiograph"]


def test_the_headers_directions_tell_lateral_and_mirrored_films() -> None:
    def towards(side: str, view: str | None = None) -> Radiograph:
        one = film(view=view)
        return replace(one, origin=replace(one.origin, row_towards=side))

    assert codes(admit(towards("A"))) == codes(admit(towards("P"))) == ["lateral"]
    assert admit(towards("A", "PA")) == admit(towards("L")) == admit(towards("R")) == ()
    right = {"frontal": 1.0}
    assert codes(flag(towards("R"), right, None)) == ["mirrored"]
    assert "PatientOrientation" in flag(towards("R"), right, None)[0].sentence
    assert flag(towards("L"), right, None) == ()
