"""Hostile files: each is read or refused at once, in bounded memory, and its refusal names no patient."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.encaps import encapsulate

from hilum.errors import ReadError
from hilum.reading.dicom_header import header_of
from hilum.reading.guarded import Decoder
from hilum.reading.reader import read

Film = Callable[..., bytes]
PIXELS = b"\xe0\x7f\x10\0"  # the tag of Pixel Data, little endian
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
MANY = 200_000  # elements or items of eight bytes, in a file of less than 2 MB


def open_sequence(group: int, element: int, content: bytes) -> bytes:
    """A sequence of undefined length."""
    head = struct.pack("<HH2sHI", group, element, b"SQ", 0, 0xFFFFFFFF)
    return head + content + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def with_header(film: bytes, more: bytes) -> bytes:
    at = film.index(PIXELS)
    return film[:at] + more + film[at:]


def elements() -> bytes:
    tags = ((0x29 + 2 * (n // 0xE000), 0x1000 + n % 0xE000) for n in range(MANY))
    return b"".join(struct.pack("<HH2sH", group, element, b"SH", 0) for group, element in tags)


def progressive(scans: int) -> bytes:
    """A JPEG whose last scan, a few bytes, comes again and again."""
    stream = io.BytesIO()
    Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).save(stream, "JPEG", progressive=True)
    film = stream.getvalue()
    return film[:-2] + film[film.rindex(b"\xff\xda") : -2] * scans + film[-2:]


HEADERS = {
    "elements without number": elements,
    "items without number": lambda: open_sequence(0x29, 0x1000, ITEM * MANY),
    "sequences in sequences": lambda: b"".join(
        struct.pack("<HH2sHI", 0x29, 0x1000, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(5_000)
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_without_end_is_refused_before_it_fills_the_memory(name: str, dicom_film: Film) -> None:
    data = with_header(dicom_film(), HEADERS[name]())
    read(dicom_film())  # imports must not count
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ReadError, match=r"more elements|RecursionError|OSError") as caught:
        read(data)
    assert "Doe" not in str(caught.value)
    assert header_of(io.BytesIO(data), ["Rows"]) is None
    assert time.perf_counter() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize("keyword", ["WindowCenter", "VOILUTSequence", "PatientComments"])
def test_an_element_of_megabytes_is_left_out_and_noted(keyword: str, dicom_film: Film) -> None:
    tag, vr, value = {
        "WindowCenter": (0x00281050, b"UT", b"1\\" * 2**20),
        "VOILUTSequence": (0x00283010, b"SQ", ITEM * 2**18),
        "PatientComments": (0x00104000, b"UT", b"Doe " * 2**19),
    }[keyword]
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value))
    start = time.perf_counter()
    film = read(with_header(dicom_film(drop=["WindowCenter", "WindowWidth"]), head + value))
    assert "1 elements of over a megabyte left out of the header" in film.notes
    assert keyword not in film.origin.header
    assert time.perf_counter() - start < 2


def test_a_deflated_header_is_asked_for_a_few_elements_without_unfolding_all(dicom_film: Film) -> None:
    film = dicom_film(uid.DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(film[140:144], "little")
    plain = zlib.decompressobj(-15).decompress(film[start:])
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(plain) + b"".join(deflater.compress(bytes(2**20)) for _ in range(300))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = header_of(io.BytesIO(film[:start] + packed + deflater.flush()), ["Rows"])
    assert found is not None and found.Rows == 256
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kB; the whole is 300 MB


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (9000, 9000), (65535, 1), (1, 65535), (0, 0)])
def test_a_header_that_lies_about_the_size_of_a_compressed_frame_is_refused_at_once(
    syntax: uid.UID, rows: int, columns: int, dicom_film: Film
) -> None:
    dataset = dcmread(io.BytesIO(dicom_film()))
    dataset.compress(syntax)
    dataset.Rows, dataset.Columns = rows, columns
    stream = io.BytesIO()
    dcmwrite(stream, dataset)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ReadError):
        read(stream.getvalue())
    assert time.perf_counter() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 450_000  # kB; RLE makes its frame


def test_fragments_without_number_are_refused(dicom_film: Film) -> None:
    dataset = dcmread(io.BytesIO(dicom_film()))
    dataset.compress(uid.JPEG2000Lossless)
    dataset.PixelData = encapsulate([b"\0\0"])[:8] + ITEM * MANY + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    stream = io.BytesIO()
    dcmwrite(stream, dataset)
    start = time.perf_counter()
    with pytest.raises(ReadError):
        read(stream.getvalue())
    assert time.perf_counter() - start < 3


WRONG = (b"AE", b"AT", b"DS", b"FD", b"IS", b"OB", b"OW", b"PN", b"SQ", b"SS", b"UN", b"UT", b"ZZ", b"\0\0")
NEEDED = (0x00280002, 0x00280004, 0x00280010, 0x00280100, 0x00280101, 0x00281050, 0x00185101, 0x00101010)


@pytest.mark.parametrize("tag", NEEDED)
def test_every_wrong_kind_of_value_is_read_past_or_refused_here_and_in_a_child(
    tag: int, dicom_film: Film, decoder: Decoder
) -> None:
    film = bytearray(dicom_film())
    at = film.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF)) + 4
    for vr in WRONG:
        film[at : at + 2] = vr
        outcomes = []
        for door in (read, decoder.read):
            try:
                outcomes.append(door(bytes(film)).pixels.tobytes())
            except ReadError as error:
                assert "Doe" not in str(error)
                outcomes.append(error.reason)
        assert outcomes[0] == outcomes[1], vr
    assert decoder.deaths == 0


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with Decoder() as decoder:
        yield decoder


@pytest.mark.parametrize("element", [b"\x02\0\x03\0UI", b"\x18\0\x01\x51CS"])
def test_an_element_of_an_unknown_kind_costs_that_element_alone(
    element: bytes, dicom_film: Film, decoder: Decoder
) -> None:
    film = bytearray(dicom_film())
    at = film.index(element) + 4
    film[at : at + 2] = b"U\xc9"
    through = decoder.read(bytes(film))
    np.testing.assert_array_equal(through.pixels, read(bytes(film)).pixels)
    assert str(through.origin.header.PatientName) == "Doe^Jane"
    if element.startswith(b"\x18"):
        found = header_of(io.BytesIO(film), ["ViewPosition", "PatientID"])
        assert found is not None and found.PatientID == "MRN-4711" and "ViewPosition" not in found


def test_an_element_that_cannot_be_written_again_is_left_out_and_noted(
    dicom_film: Film, decoder: Decoder
) -> None:
    film = with_header(dicom_film(), struct.pack("<HHI", 0x29, 0x1001, 4) + b"abcd")  # without its kind
    through = decoder.read(film)
    np.testing.assert_array_equal(through.pixels, read(film).pixels)
    assert "some header elements are malformed and left out" in through.notes
    assert str(through.origin.header.PatientName) == "Doe^Jane"


def test_a_dicomdir_and_an_object_without_an_image_are_refused(dicom_film: Film) -> None:
    film = dcmread(io.BytesIO(dicom_film()))
    for tag in [tag for tag in film.keys() if tag.group >= 0x28]:  # noqa: SIM118 - its iterator converts
        del film[tag]
    record = Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["ETC", "PASSWD"]
    for records in ([], [record]):
        film.DirectoryRecordSequence = records
        film.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
        stream = io.BytesIO()
        dcmwrite(stream, film)
        with pytest.raises(ReadError, match="no pixel data"):
            read(stream.getvalue())


@pytest.mark.parametrize("packed", [False, True])
def test_a_jpeg_of_scans_without_number_is_refused(packed: bool, dicom_film: Film) -> None:
    def wrapped(jpeg: bytes) -> bytes:
        if not packed:
            return jpeg
        dataset = dcmread(io.BytesIO(dicom_film(BitsAllocated=8, BitsStored=8, HighBit=7)))
        dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        dataset.PixelData = encapsulate([jpeg])
        dataset["PixelData"].is_undefined_length = True
        stream = io.BytesIO()
        dcmwrite(stream, dataset)
        return stream.getvalue()

    assert read(wrapped(progressive(0))).pixels.shape == (256, 256)
    with pytest.raises(ReadError, match="more than 200 scans"):
        read(wrapped(progressive(1000)))


def test_two_bytes_of_metadata_are_not_counted_as_a_scan() -> None:
    stream = io.BytesIO()
    grey = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(grey).save(stream, "JPEG", comment=b"\xff\xda\0\x02" * 1000)
    assert read(stream.getvalue()).pixels.shape == (256, 256)


def test_an_element_that_can_be_written_but_not_read_back_is_left_out_and_noted(
    dicom_film: Film, decoder: Decoder
) -> None:
    """As fuzzing found it: what an item holds tells its kind neither way, and is written in another one."""
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    told = (
        struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HH2sH", 8, 0x102, b"SH", 4) + b"DCM "
    )
    inner = struct.pack("<HHI", 0x8805, 0x8D05, 0xFFFFFFFF)  # without its kind, and of undefined length
    inner += open_sequence(0x40, 0xA170, told + end) + end
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xB5058705)  # far beyond the file
    film = with_header(dicom_film(), open_sequence(0x8, 0x2112, item + inner))
    before = decoder.deaths
    through = decoder.read(film)
    assert decoder.deaths == before
    np.testing.assert_array_equal(through.pixels, read(film).pixels)
    assert "some header elements are malformed and left out" in through.notes
    assert str(through.origin.header.PatientName) == "Doe^Jane"
