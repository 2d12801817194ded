"""DICOM files made in the test: grey levels by hand computation, geometry, encodings, lies and bombs."""

from __future__ import annotations

import io
import re
import resource
import struct
import time
import zlib
from typing import Any

import jpeg_ls
import numpy as np
import openjpeg.utils
import pytest
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID

from hilum.errors import ReadError
from hilum.reading.dicom import DECODERS
from hilum.reading.reader import read

ROWS, COLUMNS = 32, 48
RAMP12 = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 4095 // (ROWS * COLUMNS - 1)).astype(np.uint16)
RAMP8 = (RAMP12 >> 4).astype(np.uint8)
SLOPE = (np.add.outer(np.arange(64), np.arange(64)) * 4095 // 126).astype(np.uint16)
SPECKS = (np.random.default_rng(0).random(SLOPE.shape) < 0.2).astype(np.uint16)
PLAIN = uid.ExplicitVRLittleEndian
SECRET = "DOE^JANE"


def dicom(
    array: np.ndarray | None = RAMP12,
    syntax: UID = PLAIN,
    pixels: bytes | None = None,
    drop: tuple[str, ...] = (),
    **elements: object,
) -> bytes:
    """A DICOM file of an array; `pixels` replaces its encoded bytes, `elements` any part of the header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    dataset.PatientName, dataset.PatientID = SECRET, SECRET
    shape = RAMP12 if array is None else array
    bits = 8 * shape.itemsize
    header: dict[str, object] = {
        "Rows": shape.shape[0],
        "Columns": shape.shape[1],
        "SamplesPerPixel": 1 if shape.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if shape.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(shape.dtype.kind == "i"),
    }
    if shape.ndim == 3:
        header["PlanarConfiguration"] = 0
    for name, value in (header | elements).items():
        if name not in drop:
            setattr(dataset, name, value)
    if "HighBit" not in elements and "BitsStored" in dataset:
        dataset.HighBit = dataset.BitsStored - 1
    if array is not None:
        little = syntax != uid.ExplicitVRBigEndian
        raw = pixels if pixels is not None else array.astype(array.dtype.newbyteorder("<" if little else ">"))
        dataset.PixelData = raw if isinstance(raw, bytes) else raw.tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 or syntax.is_encapsulated else "OW"
        dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def table(first: int, bits: int, entries: list[int]) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    wide = len(entries) > 32767  # too long for US, whose length has 16 bits
    item.add_new("LUTData", "OW" if wide else "US", np.array(entries, "<u2").tobytes() if wide else entries)
    return [item]


def refusal(data: bytes, **options: int) -> str:
    with pytest.raises(ReadError) as caught:
        read(data, **options)
    assert SECRET not in str(caught.value)
    return caught.value.reason


def grey(notes: tuple[str, ...]) -> str:
    (note,) = (note for note in notes if note.startswith("grey levels"))
    return note.removeprefix("grey levels: ")


def percentiles(array: np.ndarray) -> np.ndarray:
    low, high = np.percentile(array.astype(np.float64), (0.1, 99.9))
    return np.asarray(np.clip((array - low) / (high - low), 0, 1))


def window(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, written as the standard writes it, for an output from 0 to 1."""
    inner = (values - (centre - 0.5)) / (width - 1) + 0.5
    below, above = values <= centre - 0.5 - (width - 1) / 2, values > centre - 0.5 + (width - 1) / 2
    return np.where(below, 0, np.where(above, 1, inner))


def test_three_values_of_a_window_by_hand() -> None:
    array = np.zeros((16, 16), np.uint16)
    array[0, :6] = 0, 100, 150, 200, 300, 4000
    pixels = read(dicom(array, BitsStored=12, WindowCenter=200, WindowWidth=201)).pixels
    # The window runs from 99.5 to 299.5: (100 - 99.5) / 200 = 0.0025, (200 - 99.5) / 200 = 0.5025.
    np.testing.assert_allclose(pixels[0, :6], [0, 0.0025, 0.2525, 0.5025, 1, 1], atol=1e-6)


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 500), (0.5, 1000.5), (4000, 2)])
def test_window(centre: float, width: float) -> None:
    radiograph = read(dicom(RAMP12, BitsStored=12, WindowCenter=centre, WindowWidth=width))
    np.testing.assert_allclose(radiograph.pixels, window(RAMP12.astype(float), centre, width), atol=1e-5)
    assert grey(radiograph.notes) == f"LINEAR window, centre {centre:g}, width {width:g}"


def test_window_of_width_one_is_a_threshold() -> None:
    pixels = read(dicom(RAMP12, BitsStored=12, WindowCenter=1000, WindowWidth=1)).pixels
    np.testing.assert_array_equal(pixels, RAMP12 > 999.5)


def test_window_functions() -> None:
    base: dict[str, Any] = {"BitsStored": 12, "WindowCenter": 1500, "WindowWidth": 1000}
    exact = read(dicom(**base, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_allclose(exact.pixels, np.clip((RAMP12 - 1500.0) / 1000 + 0.5, 0, 1), atol=1e-6)
    sigmoid = read(dicom(**base, VOILUTFunction="SIGMOID"))
    np.testing.assert_allclose(sigmoid.pixels, 1 / (1 + np.exp(-4 * (RAMP12 - 1500.0) / 1000)), atol=1e-6)
    assert grey(sigmoid.notes).startswith("SIGMOID window")
    unknown = read(dicom(**base, VOILUTFunction="CUBIC"))
    np.testing.assert_allclose(unknown.pixels, window(RAMP12.astype(float), 1500, 1000), atol=1e-6)
    assert "VOILUTFunction is unknown; LINEAR is used" in unknown.notes


def test_the_first_of_several_windows() -> None:
    radiograph = read(dicom(BitsStored=12, WindowCenter=[1000, 3000], WindowWidth=[500, 100]))
    np.testing.assert_allclose(radiograph.pixels, window(RAMP12.astype(float), 1000, 500), atol=1e-5)
    assert grey(radiograph.notes).endswith("the first of 2")


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_an_impossible_window_is_noted(width: float) -> None:
    radiograph = read(dicom(BitsStored=12, WindowCenter=1000, WindowWidth=width))
    np.testing.assert_allclose(radiograph.pixels, percentiles(RAMP12), atol=1e-5)
    assert f"window of width {width:g} ignored" in radiograph.notes


def test_window_on_8_bits_and_without() -> None:
    np.testing.assert_allclose(read(dicom(RAMP8)).pixels, RAMP8 / 255, atol=1e-6)
    radiograph = read(dicom(RAMP8, WindowCenter=100, WindowWidth=50))
    np.testing.assert_allclose(radiograph.pixels, window(RAMP8.astype(float), 100, 50), atol=1e-6)


def test_percentiles_without_a_window() -> None:
    radiograph = read(dicom(BitsStored=12))
    np.testing.assert_allclose(radiograph.pixels, percentiles(RAMP12), atol=1e-5)
    assert grey(radiograph.notes) == "0.1 to 99.9 percentile range"


@pytest.mark.parametrize(("value", "limit"), [(0, None), (4095, None), (0, 3), (4095, 4000)])
def test_padding_is_left_out_of_the_percentiles(value: int, limit: int | None) -> None:
    array = RAMP12.copy()
    array[:10] = value
    extra: dict[str, Any] = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    radiograph = read(dicom(array, BitsStored=12, PixelPaddingValue=value, **extra))
    low, high = min(value, limit or value), max(value, limit or value)
    seen = array[(array < low) | (array > high)].astype(float)
    bottom, top = np.percentile(seen, (0.1, 99.9))
    np.testing.assert_allclose(radiograph.pixels, np.clip((array - bottom) / (top - bottom), 0, 1), atol=1e-5)
    assert "padding" in refusal(dicom(np.full((32, 32), value, np.uint16), PixelPaddingValue=value))


def test_rescale_comes_before_the_window() -> None:
    data = dicom(BitsStored=12, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=100, WindowWidth=400)
    radiograph = read(data)
    np.testing.assert_allclose(radiograph.pixels, window(RAMP12 * 2.0 - 1024, 100, 400), atol=1e-5)
    assert "rescaled by 2 and -1024" in radiograph.notes


def test_a_negative_slope_turns_the_grey_levels_round() -> None:
    np.testing.assert_allclose(
        read(dicom(BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095)).pixels,
        1 - percentiles(RAMP12),
        atol=1e-5,
    )
    np.testing.assert_allclose(read(dicom(RAMP8, RescaleSlope=-1)).pixels, 1 - RAMP8 / 255, atol=1e-6)


def test_grey_levels_beyond_all_numbers_are_refused() -> None:
    with pytest.raises(ReadError, match="grey levels that are not finite numbers; correct the rescale slope"):
        read(dicom(BitsStored=12, RescaleSlope="1e308"))


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_pixels(dtype: type) -> None:
    array: np.ndarray = (RAMP8.astype(np.int16) - 128).astype(dtype)
    radiograph = read(dicom(array, WindowCenter=0, WindowWidth=101))
    np.testing.assert_allclose(radiograph.pixels, window(array.astype(float), 0, 101), atol=1e-6)
    plain = read(dicom(array)).pixels
    expected = RAMP8 / 255 if dtype is np.int8 else percentiles(array)
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_bits_beyond_those_stored_are_masked() -> None:
    dirty = RAMP12 | 0xA000
    data = dicom(dirty, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_allclose(read(data).pixels, RAMP12 / 4095, atol=1e-5)
    negative = dicom(
        ((RAMP12 - 2048) & 0x0FFF), BitsStored=12, PixelRepresentation=1, WindowCenter=0, WindowWidth=4096
    )
    np.testing.assert_allclose(read(negative).pixels, RAMP12 / 4095, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "stored", "high", "note"),
    [
        (SLOPE >> 1 << 1, 11, 11, "BitsStored 11 below HighBit 11: pixels lie 1 bits higher"),
        (SLOPE << 4, 12, 15, "pixels lie 4 bits higher"),
        (SLOPE, 12, 15, "HighBit 15 disagrees with BitsStored 12, which is followed"),
        (SLOPE | (SPECKS << 12), 12, 11, "bits above the 12 of BitsStored ignored"),
        ((SLOPE << 4) | SPECKS, 12, 15, "pixels lie 4 bits higher"),
        (SLOPE, 10, 9, "pixels of 12 bits, BitsStored says 10; all used"),
        (SLOPE * 16, 12, 11, "pixels of 16 bits, BitsStored says 12; all used"),
        (SLOPE - 2048, 12, 11, "PixelRepresentation 0, but the pixels are signed"),
    ],
    ids=["moved by 1", "moved by 4", "HighBit alone wrong", "overlay above", "overlay below", "two more bits",
         "four more bits", "sign denied"],
)  # fmt: skip
def test_words_that_are_not_what_the_header_says_show_the_film_all_the_same(
    words: np.ndarray, stored: int, high: int, note: str
) -> None:
    radiograph = read(dicom(words.astype(np.uint16), BitsStored=stored, HighBit=high))
    np.testing.assert_allclose(radiograph.pixels, percentiles(SLOPE), atol=1e-3)
    assert any(note in said for said in radiograph.notes)


SIGNED = (np.add.outer(np.arange(64), np.arange(64)) * 1700 // 126 + 300).astype(np.int16)
SIGNED[:8] = -2000


def jpeg_2000(words: np.ndarray, bits: int) -> bytes:
    coded = openjpeg.utils.encode_array(words, bits_stored=bits, photometric_interpretation=2)
    return encapsulate([bytes(coded)])


def jpeg_ls_of(words: np.ndarray, bits: int) -> bytes:
    rows, columns = words.shape
    about = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_stored": bits}
    return encapsulate([bytes(jpeg_ls.encode_pixel_data(words.tobytes(), **about))])


BARE = (SIGNED & 0xFFF).astype(np.uint16)
CODED: dict[str, tuple[UID, bytes]] = {
    "bare words": (PLAIN, BARE.tobytes()),
    "words": (PLAIN, SIGNED.tobytes()),
    "JPEG-LS": (uid.JPEGLSLossless, jpeg_ls_of(BARE, 12)),
    "JPEG 2000": (uid.JPEG2000Lossless, jpeg_2000(SIGNED, 12)),
    "JPEG 2000, unsigned": (uid.JPEG2000Lossless, jpeg_2000(BARE, 12)),
}


@pytest.mark.parametrize(
    ("kind", "stored"),
    [*((kind, 12) for kind in CODED), *((kind, 16) for kind in CODED if kind != "bare words")],
)
def test_signed_films_of_twelve_bits_are_the_same_however_they_are_coded(kind: str, stored: int) -> None:
    syntax, pixels = CODED[kind]
    radiograph = read(dicom(SIGNED, syntax, pixels, BitsStored=stored, PixelPaddingValue=-2000))
    np.testing.assert_allclose(radiograph.pixels[8:], percentiles(SIGNED[8:]), atol=1e-4)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_sign_that_the_codestream_states_and_the_header_denies_is_believed_where_the_film_shows_it(
    bits: int,
) -> None:
    film = (SLOPE.astype(np.int32) * 2**bits // 4096 - 2 ** (bits - 1)).astype(np.int16)
    pixels = jpeg_2000(film, bits)
    radiograph = read(dicom(film.view(np.uint16), uid.JPEG2000Lossless, pixels, BitsStored=bits))
    np.testing.assert_allclose(radiograph.pixels, SLOPE / 4095, atol=0.02)
    assert "PixelRepresentation 0, but the pixels are signed" in radiograph.notes


@pytest.mark.parametrize(
    ("dtype", "word", "value", "vr"),
    [(np.uint16, 65535, -1, "SS"), (np.int16, -32768, 32768, "US"), (np.int16, -2000, 63536, "US")],
)
def test_padding_is_known_by_its_bits_whatever_sign_it_is_stated_with(
    dtype: type, word: int, value: int, vr: str
) -> None:
    film = SLOPE.astype(dtype) // 2
    film[:8] = word
    data = dcmread(io.BytesIO(dicom(film, BitsStored=12)), force=True)
    data.add_new("PixelPaddingValue", vr, value)
    stream = io.BytesIO()
    data.save_as(stream)
    radiograph = read(stream.getvalue())
    np.testing.assert_allclose(radiograph.pixels[8:], percentiles(film[8:]), atol=1e-4)


def test_a_high_bit_that_no_word_shows_is_not_believed() -> None:
    coarse = (SLOPE >> 4 << 4).astype(np.uint16)
    about: dict[str, Any] = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    said, true = (read(dicom(coarse, **about, HighBit=high)).pixels for high in (15, 11))
    np.testing.assert_array_equal(said, true)


def test_a_black_film_with_an_old_overlay_shows_nothing() -> None:
    assert "constant" in refusal(dicom(SPECKS << 12, BitsStored=12))


def test_padding_beyond_the_bits_stored_says_nothing_of_the_others() -> None:
    words = RAMP12.copy()
    words[:4] = 63536
    radiograph = read(dicom(words, BitsStored=12, PixelPaddingValue=63536))
    np.testing.assert_allclose(radiograph.pixels[4:], percentiles(RAMP12[4:]), atol=1e-4)
    assert not [note for note in radiograph.notes if "BitsStored" in note]


def test_odd_bit_depths() -> None:
    six = read(dicom((RAMP8 >> 2), BitsStored=6))
    np.testing.assert_allclose(six.pixels, (RAMP8 >> 2) / 63, atol=1e-6)
    eight_in_sixteen = read(dicom(RAMP8.astype(np.uint16), BitsStored=8))
    np.testing.assert_allclose(eight_in_sixteen.pixels, RAMP8 / 255, atol=1e-6)
    wrong = read(dicom(RAMP12, BitsStored=17, HighBit=11))
    assert any("BitsStored 17 is impossible" in note for note in wrong.notes)
    assert any("HighBit 11 disagrees" in note for note in wrong.notes)


def test_voi_lut() -> None:
    entries = [min(255, 4 * i) for i in range(100)]
    data = dicom(BitsStored=12, VOILUTSequence=table(1000, 8, entries) * 2, WindowCenter=9, WindowWidth=9)
    radiograph = read(data)
    expected = np.array(entries)[np.clip(RAMP12.astype(int) - 1000, 0, 99)] / 255
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)
    assert grey(radiograph.notes) == "VOI LUT, the first of 2"


def test_a_voi_lut_of_65536_entries_and_a_negative_start() -> None:
    entries = list(range(65536))
    array = RAMP12.astype(np.int16) - 2000
    data = dicom(array, VOILUTSequence=table(65536 - 32768, 16, entries))  # -32768 as an unsigned word
    np.testing.assert_allclose(read(data).pixels, (array + 32768.0) / 65535, atol=1e-6)


def test_modality_lut_comes_before_the_window() -> None:
    entries = [1000 + i * i // 4096 for i in range(4096)]
    data = dicom(
        BitsStored=12, ModalityLUTSequence=table(0, 16, entries), WindowCenter=3000, WindowWidth=2000
    )
    radiograph = read(data)
    np.testing.assert_allclose(
        radiograph.pixels, window(np.array(entries)[RAMP12] * 1.0, 3000, 2000), atol=1e-5
    )
    assert "modality LUT applied" in radiograph.notes


def test_a_short_lut_is_refused() -> None:
    items = table(0, 8, [1, 2, 3])
    items[0].LUTDescriptor = [200, 0, 8]
    assert "its descriptor says 200" in refusal(dicom(BitsStored=12, VOILUTSequence=items))


@pytest.mark.parametrize("extra", [{}, {"WindowCenter": 2000, "WindowWidth": 1500}])
def test_monochrome1_equals_monochrome2_of_the_same_film(extra: dict[str, Any]) -> None:
    two = read(dicom(BitsStored=12, **extra))
    mirrored = {"WindowCenter": 4096 - extra["WindowCenter"]} if extra else {}  # the window is half open
    data = dicom(4095 - RAMP12, BitsStored=12, PhotometricInterpretation="MONOCHROME1", **(extra | mirrored))
    one = read(data)
    np.testing.assert_allclose(one.pixels, two.pixels, atol=1e-5)
    assert "inverted once: MONOCHROME1" in one.notes
    assert not any("inverted" in note for note in two.notes)


def test_inversion_comes_after_the_window() -> None:
    data = dicom(BitsStored=12, PhotometricInterpretation="MONOCHROME1", WindowCenter=500, WindowWidth=400)
    np.testing.assert_allclose(read(data).pixels, 1 - window(RAMP12.astype(float), 500, 400), atol=1e-5)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", "NONSENSE"])
def test_at_most_one_inversion(photometric: str, shape: str) -> None:
    data = dicom(RAMP8, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    radiograph = read(data)
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    np.testing.assert_allclose(radiograph.pixels, 1 - RAMP8 / 255 if inverted else RAMP8 / 255, atol=1e-6)
    assert sum("inverted" in note for note in radiograph.notes) == inverted
    agree = (photometric, shape) in [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")]
    noted = any("disagrees" in note for note in radiograph.notes)
    assert noted == (not agree and shape != "NONSENSE")


COLOUR = np.dstack([RAMP8, RAMP8[::-1], RAMP8[:, ::-1]])
LUMA = COLOUR @ np.array([0.299, 0.587, 0.114])


def test_colour() -> None:
    radiograph = read(dicom(COLOUR))
    np.testing.assert_allclose(radiograph.pixels, LUMA / 255, atol=0.51 / 255)
    assert "colour turned to grey" in radiograph.notes
    planar = dicom(COLOUR, pixels=np.moveaxis(COLOUR, 2, 0).tobytes(), PlanarConfiguration=1)
    np.testing.assert_array_equal(read(planar).pixels, radiograph.pixels)
    full = read(dicom(COLOUR, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(full.pixels, RAMP8 / 255, atol=1e-6)  # the first sample is the luminance
    wide = read(dicom(COLOUR.astype(np.uint16) * 200))
    np.testing.assert_allclose(wide.pixels, percentiles(np.rint(LUMA * 200)), atol=1e-4)


def test_palette() -> None:
    tables: dict[str, Any] = {}
    for name, weight in (("Red", 1), ("Green", 2), ("Blue", 3)):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        entries = (np.arange(256) * 65535 // 255 // weight).astype("<u2")
        tables[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    radiograph = read(dicom(RAMP8, PhotometricInterpretation="PALETTE COLOR", **tables))
    expected = RAMP8 / 255 * (0.299 + 0.587 / 2 + 0.114 / 3)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-4)
    assert "palette colour turned to grey" in radiograph.notes


@pytest.mark.parametrize("syntax", [s for s in DECODERS if not s.is_encapsulated], ids=lambda s: s.keyword)
def test_uncompressed_encodings(syntax: UID) -> None:
    for array in (RAMP8, RAMP12, RAMP12.astype(np.int16)):
        expected = RAMP8 / 255 if array is RAMP8 else percentiles(RAMP12)
        np.testing.assert_allclose(read(dicom(array, syntax)).pixels, expected, atol=1e-5)


def test_without_preamble_or_file_meta() -> None:
    for syntax in (PLAIN, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        data = dicom(RAMP12, syntax)
        stream = io.BytesIO(data)
        read_preamble(stream, True)
        assert read(data[132:]).origin.format == "DICOM"
        read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        bare = read(data[stream.tell() :])
        np.testing.assert_allclose(bare.pixels, percentiles(RAMP12), atol=1e-5)
        assert any("no transfer syntax" in note and syntax.name in note for note in bare.notes)


def test_a_preamble_may_hold_a_tiff_header() -> None:
    assert read(b"II*\0" + dicom()[4:]).origin.format == "DICOM"


@pytest.mark.parametrize(
    ("elements", "spacing", "note"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "spacing: PixelSpacing"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "spacing: ImagerPixelSpacing"),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [1, 1]}, (0.2, 0.1), "spacing: PixelSpacing"),
        ({"PixelSpacing": [0, 0]}, None, "PixelSpacing is zero, implausible or malformed and ignored"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [1, 1]}, (1, 1), "spacing: ImagerPixelSpacing"),
        ({"PixelSpacing": [1e-9, 1e-9]}, None, "PixelSpacing is zero, implausible or malformed and ignored"),
        ({"PixelSpacing": [0.2, 1e6]}, None, "PixelSpacing is zero, implausible or malformed and ignored"),
        ({"PixelSpacing": [-1, 1]}, None, "PixelSpacing is zero, implausible or malformed and ignored"),
        ({"PixelSpacing": 0.1}, None, "PixelSpacing is zero, implausible or malformed and ignored"),
        ({}, None, ""),
    ],
)
def test_spacing(elements: dict[str, Any], spacing: tuple[float, float] | None, note: str) -> None:
    radiograph = read(dicom(**elements))
    assert radiograph.spacing == spacing
    assert not note or note in radiograph.notes


def test_malformed_numbers_are_noted_without_their_text() -> None:
    data = dicom(BitsStored=12, WindowCenter=1234, WindowWidth=5678, PixelSpacing=[0.125, 0.125])
    broken = data.replace(b"1234", b"DOE^").replace(b"0.125\\0.125", b"0.125\\JANE.")
    radiograph = read(broken)
    assert radiograph.spacing is None
    assert {"WindowCenter is malformed and ignored", "PixelSpacing is malformed and ignored"} <= set(
        radiograph.notes
    )
    assert not any("DOE" in note or "JANE" in note for note in radiograph.notes)
    np.testing.assert_allclose(radiograph.pixels, percentiles(RAMP12), atol=1e-5)


def test_view_header_and_notes() -> None:
    radiograph = read(dicom(ViewPosition="PA"))
    assert radiograph.view == "PA"
    assert radiograph.origin.header.PatientName == SECRET  # the header is the caller's own business
    assert "PixelData" not in radiograph.origin.header
    assert not any(SECRET in note for note in radiograph.notes)
    assert read(dicom(ViewPosition="")).view is read(dicom()).view is None


@pytest.mark.parametrize(
    ("elements", "supine"),
    [
        ({}, False),
        ({"PatientPosition": "HFS"}, True),
        ({"PatientPosition": "FFS"}, True),
        ({"PatientPosition": "HFP"}, False),  # prone
        ({"PatientPosition": "HFDL"}, False),  # on the left side
        ({"PatientPosition": ""}, False),
        ({"ViewPosition": "AP"}, False),
        ({"ViewPosition": "AP SUPINE"}, True),
        ({"SeriesDescription": "Chest ap, supine"}, True),
        ({"StudyDescription": "Thorax SUPINE bedside"}, True),
        ({"AcquisitionDeviceProcessingDescription": "CHEST SUPINE"}, True),
        ({"SeriesDescription": "Chest pa, erect", "PatientPosition": "HFP"}, False),
        ({"BodyPartExamined": "SUPINE"}, False),  # not an element that tells the position
    ],
)
def test_a_patient_on_the_back_is_known_from_code_or_text(elements: dict[str, Any], supine: bool) -> None:
    assert read(dicom(**elements)).origin.supine is supine


@pytest.mark.parametrize(
    ("said", "years"),
    [
        ("058Y", 58),
        ("018M", 1.5),
        ("052W", 52 * 7 / 365.25),
        ("003D", 3 / 365.25),
        ("580Y", None),
        ("", None),
    ],
)
def test_the_age_is_read_in_years(said: str, years: float | None) -> None:
    found = read(dicom(PatientAge=said)).origin.age
    assert found == (None if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dicom(None), "no pixel data"),
        (dicom(NumberOfFrames=3), "3 frames, expected 1"),
        (dicom(RAMP12[:15]), "15 x 48 pixels are too few"),
        (dicom(RAMP12 * 0), "constant image"),
        (dicom(RAMP12, WindowCenter=60000, WindowWidth=2), "window or lookup table gives all"),
        (dicom(RAMP12.astype(np.uint32)), "32 bits allocated"),
        (dicom(BitsAllocated=1), "1 bits allocated"),
        (dicom(PhotometricInterpretation="CMYK"), "photometric interpretation CMYK with 1 samples"),
        (dicom(PhotometricInterpretation="RGB"), "photometric interpretation RGB with 1 samples"),
        (dicom(drop=("PhotometricInterpretation",)), "photometric interpretation missing"),
        (dicom(drop=("Rows",)), "no rows or columns"),
        (dicom(Rows=33), r"truncated: 3072 of 3168 bytes"),
        (dicom(Rows=65535, Columns=65535), "more than the pixel budget"),
        (dicom(NumberOfFrames=2**31 - 1), "more than the pixel budget"),
        (dicom(syntax=uid.MPEG2MPML, pixels=encapsulate([b"abcd"])), "MPEG2.*no permissive decoder"),
        (
            dicom().replace(b"1.2.840.10008.1.2.1", b"1.2.840.99999.1.2.1"),
            "99999.1.2.1 has no permissive decoder",
        ),
        (dicom()[:-100], "truncated"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    assert re.search(reason, refusal(data))


def test_bytes_after_the_pixels_are_noted() -> None:
    radiograph = read(dicom(pixels=RAMP12.tobytes() + bytes(10)))
    assert "10 bytes after the pixels ignored" in radiograph.notes


def jpeg(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=98, **options)
    return stream.getvalue()


def test_jpeg_baseline() -> None:
    data = dicom(RAMP8, uid.JPEGBaseline8Bit, encapsulate([jpeg(RAMP8)]))
    np.testing.assert_allclose(read(data).pixels, RAMP8 / 255, atol=4 / 255)
    split = encapsulate([jpeg(RAMP8)], fragments_per_frame=3)
    np.testing.assert_array_equal(read(dicom(RAMP8, uid.JPEGBaseline8Bit, split)).pixels, read(data).pixels)
    extended = dicom(RAMP8, uid.JPEGExtended12Bit, encapsulate([jpeg(RAMP8)]))
    np.testing.assert_array_equal(read(extended).pixels, read(data).pixels)


def sof(marker: int, bits: int, rows: int, columns: int) -> bytes:
    """A JPEG that ends with its first scan header."""
    frame = struct.pack(">HHBHHB3B", marker, 11, bits, rows, columns, 1, 1, 0x11, 0)
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\1\0\0" + bytes(99) + b"\xff\xd9"


def siz(rows: int, columns: int) -> bytes:
    """A JPEG 2000 that ends with its first header."""
    sizes = struct.pack(">H8I", 0, columns, rows, 0, 0, columns, rows, 0, 0)
    return b"\xff\x4f\xff\x51\0\x29" + sizes + b"\0\1\7\1\1" + bytes(99)


LIES = {
    "JPEG Baseline": (uid.JPEGBaseline8Bit, sof(0xFFC0, 8, 65500, 65500)),
    "JPEG lossless": (uid.JPEGLosslessSV1, sof(0xFFC3, 8, 65500, 65500)),
    "JPEG-LS": (uid.JPEGLSLossless, sof(0xFFF7, 8, 65500, 65500)),
    "JPEG 2000": (uid.JPEG2000Lossless, siz(60000, 60000)),
    "JPEG 2000 behind boxes": (uid.JPEG2000, b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60) + siz(60000, 60000)),
}


@pytest.mark.parametrize("name", LIES)
def test_a_frame_larger_than_its_header_says_is_refused(name: str) -> None:
    syntax, frame = LIES[name]
    reason = refusal(dicom(RAMP8, syntax, encapsulate([frame])))
    assert "the compressed frame is 6" in reason
    assert "the header says 32 x 48 x 1" in reason


def test_12_bit_jpeg_extended_is_refused_by_name() -> None:
    data = dicom(RAMP12, uid.JPEGExtended12Bit, encapsulate([sof(0xFFC1, 12, ROWS, COLUMNS)]), BitsStored=12)
    assert refusal(data).startswith("JPEG Extended (Process 2 and 4) of 12 bits")


@pytest.mark.parametrize("syntax", [s for s in DECODERS if s.is_encapsulated], ids=lambda s: s.keyword)
@pytest.mark.parametrize(
    "frame", [b"\0\0", b"\0" * 100, b"\xff\xd8" * 9, sof(0xFFC3, 8, ROWS, COLUMNS), siz(ROWS, COLUMNS)]
)
def test_nonsense_in_every_compressed_syntax_is_refused(syntax: UID, frame: bytes) -> None:
    refusal(dicom(RAMP8, syntax, encapsulate([frame])))


def lossless(*segments: bytes) -> bytes:
    return dicom(
        RAMP8, uid.JPEGLosslessSV1, encapsulate([b"\xff\xd8" + b"".join(segments) + bytes(99) + b"\xff\xd9"])
    )


FRAME = struct.pack(">HHBHHB3B", 0xFFC3, 11, 8, ROWS, COLUMNS, 1, 1, 0x11, 0)
TABLE = b"\xff\xc4\0\x15\0" + bytes([0, 2]) + bytes(14) + b"\0\1"
SCAN = b"\xff\xda\0\x08\1\1\0\1\0\0"


@pytest.mark.parametrize(
    ("segments", "marker"),
    [
        ((FRAME, SCAN), "FFDA"),  # no table
        ((TABLE, SCAN.replace(b"\1\0\0", b"\x08\0\0"), FRAME), "0 frame headers"),
        ((FRAME, TABLE, b"\xff\xda\0\x08\1\1\0\x08\0\0"), "FFDA"),  # predictor 8
        ((FRAME, TABLE, b"\xff\xda\0\x08\1\2\0\1\0\0"), "FFDA"),  # another component
        ((FRAME, TABLE[:-1] + b"\x20", SCAN), "FFC4"),  # a difference of 32 bits
        (
            (FRAME, TABLE.replace(bytes([0, 2]), bytes([3, 0])).replace(b"\0\x15", b"\0\x16") + b"\2", SCAN),
            "FFC4",
        ),
        ((FRAME.replace(b"\x11", b"\x44"), TABLE, SCAN), "FFC3"),  # subsampled
        ((FRAME, TABLE, b"\xff\xdb\0\x03\0", SCAN), "FFDB"),  # a quantisation table
        ((FRAME, FRAME, TABLE, SCAN), "2 frame headers"),
    ],
)
def test_lossless_tables_that_would_crash_the_decoder_are_refused(
    segments: tuple[bytes, ...], marker: str
) -> None:
    assert marker in refusal(lossless(*segments))


def test_an_unknown_adobe_colour_code_does_not_end_the_process() -> None:
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x66"
    read_or_refused = lossless(adobe, FRAME, TABLE, SCAN)
    try:
        read(read_or_refused)
    except ReadError as error:
        assert "FFEE" not in error.reason


def bomb(header: bytes, zeros: int) -> bytes:
    """A deflated file whose data set is `header` and then so many zeros."""
    stream = io.BytesIO(dicom(RAMP8, uid.DeflatedExplicitVRLittleEndian))
    read_preamble(stream, True)
    read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(header) + b"".join(deflater.compress(bytes(2**20)) for _ in range(zeros >> 20))
    return stream.getvalue()[: stream.tell()] + body + deflater.flush()


def header_of(data: bytes) -> bytes:
    """The data set up to its pixels, and an element that claims to hold 400 MB of them."""
    stream = io.BytesIO(data)
    read_preamble(stream, True)
    read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    plain = data[stream.tell() :]
    return plain[: plain.index(b"\xe0\x7f\x10\0")] + b"\xe0\x7f\x10\0OB\0\0" + struct.pack("<I", 400_000_000)


RLE = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 5_000_000

BOMBS = {
    "deflated pixels": (lambda: bomb(header_of(dicom(RAMP8)), 400_000_000), "inflates to far more"),
    "deflated zeros": (lambda: bomb(b"", 400_000_000), "more elements"),
    "deflated within deflated": (lambda: bomb(bomb(b"", 400_000_000), 0), "no rows or columns"),
    "deflated gigapixels": (
        lambda: bomb(header_of(dicom(RAMP8, Rows=65535, Columns=65535)), 400_000_000),
        "budget",
    ),
    "RLE": (lambda: dicom(RAMP8, uid.RLELossless, encapsulate([RLE])), "more RLE data"),
    "RLE of a large film": (
        lambda: dicom(RAMP8, uid.RLELossless, encapsulate([RLE]), Rows=3000, Columns=3000),
        "constant",
    ),
    "lossless of a large film": (
        lambda: dicom(
            RAMP8, uid.JPEGLosslessSV1, encapsulate([sof(0xFFC3, 8, 9000, 9000)]), Rows=9000, Columns=9000
        ),
        "malformed",
    ),
    "nested sequences": (
        lambda: (
            bytes(128)
            + b"DICM"
            + (b"\x08\0\x15\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * 50_000
        ),
        "RecursionError",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    make, reason = BOMBS[name]
    data: bytes = make()  # type: ignore[no-untyped-call]
    read(dicom())  # imports and caches must not count
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert reason in refusal(data)
    assert time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("syntax", [PLAIN, uid.JPEG2000Lossless, uid.DeflatedExplicitVRLittleEndian])
def test_a_film_may_name_the_deflated_syntax_without_being_deflated(syntax: UID) -> None:
    frame = encapsulate([openjpeg.utils.encode_array(RAMP8, photometric_interpretation=2)])
    pixels = frame if syntax == uid.JPEG2000Lossless else None
    data = dicom(RAMP8, syntax, pixels, AvailableTransferSyntaxUID=uid.DeflatedExplicitVRLittleEndian)
    np.testing.assert_allclose(read(data).pixels, RAMP8 / 255, atol=1e-6)


def test_a_deflated_file_cut_short_is_refused() -> None:
    data = dicom(RAMP8, uid.DeflatedExplicitVRLittleEndian)
    for length in range(400, len(data) - 2, 20):
        assert refusal(data[:length])


def coded(value: str, meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return [item]


@pytest.mark.parametrize(
    ("position", "code", "view"),
    [
        (None, ("399348003", "antero-posterior"), "AP"),
        (None, ("R-10214", "postero-anterior"), "PA"),
        (None, ("272479007", "von hinten nach vorn"), "PA"),  # by its number, whatever the language
        (None, ("399067008", "lateral projection"), "LATERAL"),
        (None, ("1", "antero-posterior oblique"), "OBLIQUE"),
        (None, ("1", "something else"), None),
        ("PA", ("399067008", "lateral projection"), "PA"),
        ("", ("399067008", "lateral projection"), "LATERAL"),
    ],
)
def test_a_view_that_only_its_code_tells_is_read(
    position: str | None, code: tuple[str, str], view: str | None
) -> None:
    said = {} if position is None else {"ViewPosition": position}
    assert read(dicom(ViewCodeSequence=coded(*code), **said)).view == view


@pytest.mark.parametrize(
    ("said", "view"),
    [
        ("L LATERAL", "LATERAL"),
        ("LLAT", "LATERAL"),
        ("AP ERECT", "AP"),
        ("PORTABLE_AP", "AP"),
        ("FRONTAL", None),
        ("LAT DECUB", None),
        ("PA AND LATERAL", None),
    ],
)
def test_a_view_in_several_words_is_read_where_they_tell_one(said: str, view: str | None) -> None:
    assert read(dicom(ViewPosition=said)).view == view


@pytest.mark.parametrize(
    ("orientation", "towards"),
    [(["L", "F"], "L"), (["R", "F"], "R"), (["A", "F"], "A"), (["PL", "F"], "P"), ("", ""), (["X", "F"], "")],
)
def test_a_rows_direction_is_read(orientation: object, towards: str) -> None:
    assert read(dicom(PatientOrientation=orientation)).origin.row_towards == towards


def test_an_age_that_is_unsaid_is_counted_from_the_birth_date() -> None:
    dates = {"PatientBirthDate": "20200101", "StudyDate": "20240630"}
    assert read(dicom(**dates)).origin.age == 4
    assert read(dicom(**dates, PatientAge="058Y")).origin.age == 58
    assert read(dicom(PatientBirthDate="20200101")).origin.age is None
