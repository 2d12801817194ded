"""DICOM -> Radiograph: parse, check, decode; `dicom_grey` computes the grey levels."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom import uid as uids
from pydicom.encaps import encapsulate, get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from hilum.reading.age import age_of
from hilum.reading.codestream import check_scans, checked
from hilum.reading.dicom_bits import Coded, with_actual_bits
from hilum.reading.dicom_bounds import HEADER, Deflated, deflated, lighten, sparing
from hilum.reading.dicom_grey import levels_of, padding_of, sides_of, spacing_of, text, view_of
from hilum.reading.dicom_layout import Layout, layout_of
from hilum.reading.grey import AGAIN, Refused, finished, graded, look_up, luminance
from hilum.types import Array, Origin, Radiograph

# Transfer syntax -> its decoder, by name, so that other installed decoders change nothing.
DECODERS = {
    uids.ImplicitVRLittleEndian: "",
    uids.ExplicitVRLittleEndian: "",
    uids.ExplicitVRBigEndian: "",
    uids.DeflatedExplicitVRLittleEndian: "",
    uids.RLELossless: "pylibjpeg",
    uids.JPEGBaseline8Bit: "pillow",
    uids.JPEGExtended12Bit: "pillow",  # of 8 bits; _frame refuses 12
    uids.JPEGLossless: "gdcm",
    uids.JPEGLosslessSV1: "gdcm",
    uids.JPEGLSLossless: "pyjpegls",
    uids.JPEGLSNearLossless: "pyjpegls",
    uids.JPEG2000Lossless: "pylibjpeg",
    uids.JPEG2000: "pylibjpeg",
    uids.HTJ2KLossless: "pylibjpeg",
    uids.HTJ2KLosslessRPCL: "pylibjpeg",
    uids.HTJ2K: "pylibjpeg",
}

_UNCOMPRESSED = "export the film uncompressed, or as JPEG 2000"


def read_dicom(data: bytes, *, path: str, sha256: str, pixel_budget: int) -> Radiograph:
    """Read the bytes of one DICOM file, with or without preamble.

    Raises Refused, or whatever pydicom and the decoders raise on damaged content.
    """
    notes: list[str] = []
    dataset, syntax, layout, grey = stored(data, pixel_budget, notes)
    if layout.samples == 3:
        pixels = graded(grey, notes)
    else:
        little = syntax != uids.ExplicitVRBigEndian
        pixels = look_up(grey, levels_of(dataset, grey, layout.stored, layout.photometric, little, notes))
        if pixels.min() == pixels.max() and grey.min() < grey.max():
            raise Refused(
                "its window or lookup table gives all pixels one grey level",
                "correct WindowCenter and WindowWidth, or remove them",
            )
    return Radiograph(
        pixels=finished(pixels),
        spacing=spacing_of(dataset, notes),
        view=view_of(dataset, notes),
        origin=Origin(
            path=path,
            sha256=sha256,
            format="DICOM",
            header=_without_pixels(dataset),
            modality=text(dataset, "Modality"),
            body_part=text(dataset, "BodyPartExamined"),
            supine=_is_supine(dataset),
            age=age_of(
                text(dataset, "PatientAge"),
                text(dataset, "PatientBirthDate"),
                text(dataset, "StudyDate") or text(dataset, "AcquisitionDate"),
            ),
            row_towards=sides_of(dataset),
        ),
        notes=tuple(notes),
    )


def stored(data: bytes, pixel_budget: int, notes: list[str]) -> tuple[Dataset, UID, Layout, Array]:
    """The header, the transfer syntax, the layout, and the stored pixels as (H, W) integers.

    Colour becomes luminance. Raises as `read_dicom` does.
    """
    dataset, syntax = _parse(data, pixel_budget, notes)
    layout = layout_of(dataset, pixel_budget, notes)
    grey, coded = _decode(dataset, syntax, layout, notes)
    if layout.samples == 1:
        grey, bits = with_actual_bits(grey, layout, coded, padding_of(dataset, grey.dtype, []), notes)
        layout = replace(layout, stored=bits, signed=grey.dtype.kind == "i")
    return dataset, syntax, layout, grey


def _is_supine(dataset: Dataset) -> bool:
    """Whether the position code or a free text says that the patient lay on the back."""
    said = ("ViewPosition", "SeriesDescription", "StudyDescription", "AcquisitionDeviceProcessingDescription")
    if any("SUPINE" in text(dataset, word) for word in said):
        return True
    # HFS, FFS, LFS, RFS: head, feet, left or right first, supine (PS3.3 C.7.3.1.1.2).
    return text(dataset, "PatientPosition").endswith("FS")


def _parse(data: bytes, pixel_budget: int, notes: list[str]) -> tuple[Dataset, UID]:
    # Any element may name this syntax; `deflated` decides by the one that counts, as dcmread does.
    named = uids.DeflatedExplicitVRLittleEndian.encode() in data
    if named and (found := deflated(BytesIO(data))):
        return _inflate(found, pixel_budget, notes), uids.DeflatedExplicitVRLittleEndian
    dataset = dcmread(sparing(BytesIO(data)), force=True)
    dataset.buffer = None  # it would keep the whole file in memory
    _lighten(dataset, notes)
    if data[128:132] != b"DICM" and not ("SOPClassUID" in dataset or "Rows" in dataset):
        raise Refused("not a DICOM, PNG, JPEG or TIFF file", "convert it to one of these")
    said = dataset.file_meta.get("TransferSyntaxUID")
    if said:
        return dataset, UID(str(said))
    implicit, little = dataset.original_encoding
    syntax = uids.ImplicitVRLittleEndian if implicit else uids.ExplicitVRLittleEndian
    if not little:
        syntax = uids.ExplicitVRBigEndian
    notes.append(f"no transfer syntax in the file; taken for {syntax.name}")
    return dataset, syntax


def _lighten(dataset: Dataset, notes: list[str]) -> None:
    if heavy := lighten(dataset):
        notes.append(f"{heavy} elements of over a megabyte left out of the header")


def _inflate(found: Deflated, pixel_budget: int, notes: list[str]) -> Dataset:
    """Parse a deflated file; inflate no more than its header declares."""
    meta, inflater, plain = found
    header = read_dataset(sparing(BytesIO(plain)), False, True, stop_when=lambda tag, *_: tag >> 16 >= 0x7FE0)
    lighten(header)
    plain += inflater.decompress(
        inflater.unconsumed_tail, layout_of(header, pixel_budget, [], pixels_follow=True).size + HEADER
    )
    if inflater.unconsumed_tail:
        raise Refused("inflates to far more than its header declares", AGAIN)
    if not inflater.eof:
        raise Refused("truncated: the deflated part has no end", AGAIN)
    dataset = read_dataset(sparing(BytesIO(plain)), False, True)
    _lighten(dataset, notes)
    dataset.file_meta = meta
    return dataset


def _decode(dataset: Dataset, syntax: UID, layout: Layout, notes: list[str]) -> tuple[Array, Coded]:
    """(H, W) integers in native byte order, and how they were coded; colour becomes luminance."""
    if syntax not in DECODERS:
        name = syntax.name[:64] if syntax.is_valid else "of no valid UID"
        raise Refused(f"transfer syntax {name} has no permissive decoder", _UNCOMPRESSED)
    element = dataset["PixelData"]
    data = element.value
    if not isinstance(data, bytes) or (element.is_undefined_length and not syntax.is_encapsulated):
        raise Refused("the pixel data do not fit the transfer syntax", AGAIN)
    coded = Coded(layout.allocated)
    if syntax.is_encapsulated:
        frame, coded = _frame(data, syntax, layout)
        data = encapsulate([frame])
    elif len(data) < layout.size:
        raise Refused(f"truncated: {len(data)} of {layout.size} bytes of pixels", AGAIN)
    elif len(data) > layout.size + 1:
        notes.append(f"{len(data) - layout.size} bytes after the pixels ignored")
    # `with_actual_bits` handles the sign and the bits above those stored.
    options = layout.options | {"pixel_vr": element.VR, "correct_unused_bits": layout.samples == 3}
    options |= {"apply_j2k_sign_correction": False, "apply_jls_sign_correction": False}
    array, said = get_decoder(syntax).as_array(
        data, index=0, raw=True, decoding_plugin=DECODERS[syntax], **options
    )
    grey: Array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if layout.samples == 1:
        return grey, coded
    if str(said["photometric_interpretation"]).startswith("YBR"):
        notes.append("colour turned to grey")
        return grey[..., 0], coded  # Y is the luminance already (PS3.3 C.7.6.3.1.2)
    return luminance(grey, notes), coded


def _frame(data: bytes, syntax: UID, layout: Layout) -> tuple[bytes, Coded]:
    """The single compressed frame, checked against the header, and the bits and sign that it declares."""
    frame = get_frame(data, 0, number_of_frames=1)
    if syntax == uids.RLELossless:
        # PackBits data are at most 1/128 larger than the pixels, and can expand 64 times.
        if len(frame) > 2 * layout.size + 2**16:
            raise Refused("more RLE data than its header declares", AGAIN)
        return frame, Coded(layout.allocated)
    if DECODERS[syntax] == "pillow":
        check_scans(frame)
    size = layout.rows, layout.columns, layout.samples
    frame, bits, signed = checked(frame, size, lossless=DECODERS[syntax] == "gdcm")
    if syntax == uids.JPEGExtended12Bit and bits > 8:
        raise Refused(f"{syntax.name} of {bits} bits has no permissive decoder", _UNCOMPRESSED)
    if bits > layout.allocated:
        raise Refused(
            f"the compressed frame has {bits} bits, more than the header's {layout.allocated}", AGAIN
        )
    return frame, Coded(bits, signed)


def _without_pixels(dataset: Dataset) -> Dataset:
    for tag in list(dataset.keys()):
        overlay = tag.group >> 8 == 0x60 and tag.element == 0x3000
        if tag.group == 0x7FE0 or overlay or tag == 0x00880200:  # 0088,0200 is the icon image
            del dataset[tag]
    return dataset
