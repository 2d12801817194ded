"""What a DICOM header says about the stored pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from hilum.reading.dicom_grey import numbers, text
from hilum.reading.grey import AGAIN, Refused, check_size

_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1} | dict.fromkeys(
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3
)
# Words that may be repeated in notes and results; any other might be a patient's name.
_KNOWN = {*_SAMPLES, "HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", ""}
_FLOATS = ("FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Size and coding of the stored pixels."""

    rows: int
    columns: int
    samples: int
    allocated: int  # bits
    stored: int  # bits
    high: int  # number of the highest stored bit
    signed: bool
    planar: int  # 1: colour by colour, 0: pixel by pixel
    photometric: str

    @property
    def size(self) -> int:
        """Bytes of one uncompressed frame."""
        size = self.rows * self.columns * self.samples * self.allocated // 8
        # Two pixels share their chroma (PS3.3 C.7.6.3.1.2).
        return size * 2 // 3 if self.photometric == "YBR_FULL_422" else size

    @property
    def options(self) -> dict[str, Any]:
        """The same, as arguments of pydicom's decoders."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "number_of_frames": 1,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "photometric_interpretation": self.photometric,
            "planar_configuration": self.planar,
            "pixel_keyword": "PixelData",
            "allow_excess_frames": False,
        }


def layout_of(
    dataset: Dataset, pixel_budget: int, notes: list[str], *, pixels_follow: bool = False
) -> Layout:
    """The layout of a header; raises Refused if it is not one film, too large, or coded in an unknown way."""

    def whole(keyword: str, default: int) -> int:
        return int((numbers(dataset, keyword, notes) or (default,))[0])

    if any(keyword in dataset for keyword in _FLOATS):
        raise Refused("floating point pixel data", "convert it to 16-bit integers")
    if not pixels_follow and "PixelData" not in dataset:
        raise Refused("no pixel data, or the file ends before them", "give a DICOM file that holds an image")
    layout = Layout(
        rows=whole("Rows", 0),
        columns=whole("Columns", 0),
        samples=whole("SamplesPerPixel", 1),
        planar=whole("PlanarConfiguration", 0),
        allocated=whole("BitsAllocated", 0),
        stored=whole("BitsStored", 0),
        high=0,
        signed=whole("PixelRepresentation", 0) == 1,
        photometric=text(dataset, "PhotometricInterpretation"),
    )
    if not (layout.rows and layout.columns):
        raise Refused("no pixel data: the header gives no rows or columns", AGAIN)
    check_size(layout.rows, layout.columns, whole("NumberOfFrames", 1), pixel_budget)
    if _SAMPLES.get(layout.photometric) != layout.samples:
        kind = (layout.photometric if layout.photometric in _KNOWN else "unknown") or "missing"
        raise Refused(
            f"photometric interpretation {kind} with {layout.samples} samples a pixel",
            "convert it to MONOCHROME2",
        )
    if layout.allocated not in (8, 16):
        raise Refused(f"{layout.allocated} bits allocated, expected 8 or 16", "convert it to 16 bits")
    if not 1 <= layout.stored <= layout.allocated:
        notes.append(f"BitsStored {layout.stored} is impossible; {layout.allocated} are taken for stored")
        layout = replace(layout, stored=layout.allocated)
    return replace(layout, high=whole("HighBit", layout.stored - 1))
