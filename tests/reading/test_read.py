"""Reading PNG, JPEG, TIFF and arrays; what is refused, and how."""

from __future__ import annotations

import copy
import io
import logging
import os
import resource
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hilum.errors import ReadError
from hilum.reading.reader import hushed, read
from hilum.types import Radiograph

ROWS, COLUMNS = 40, 56
RAMP = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 255 // (ROWS * COLUMNS - 1)).astype(np.uint8)
RAMP16 = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) * 20 + 1000
COLOUR = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
LUMA = np.array([0.299, 0.587, 0.114])


def saved(array: np.ndarray, kind: str, **options: object) -> bytes:
    """The file that Pillow makes of an array."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def encoded(ending: str, array: np.ndarray) -> bytes:
    """The file that OpenCV makes of an array; it alone writes colour of 16 bits."""
    return cv2.imencode(ending, array)[1].tobytes()


def percentiles(array: np.ndarray) -> np.ndarray:
    low, high = np.percentile(array.astype(np.float64), (0.1, 99.9))
    return np.clip((array - low) / (high - low), 0, 1)


def png(width: int, height: int, depth: int, colour: int, body: bytes) -> bytes:
    """A PNG with any declared size, depth and colour type."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff(array: np.ndarray, photometric: int, **tags: int) -> bytes:
    """A little-endian TIFF of one uncompressed strip, or of what `tags` say."""
    bits = 8 * array.itemsize
    fields = {"width": 256, "length": 257, "bits": 258, "compression": 259, "photometric": 262, "offset": 273}
    fields |= {
        "rows": 278,
        "bytes": 279,
        "tile_width": 322,
        "tile_length": 323,
        "tiles": 324,
        "tile_bytes": 325,
        "sample_format": 339,
    }
    values = {"width": array.shape[1], "length": array.shape[0], "bits": bits, "compression": 1}
    values |= {"photometric": photometric, "offset": 256, "rows": array.shape[0], "bytes": array.nbytes}
    entries = sorted((fields[name], value) for name, value in (values | tags).items() if value >= 0)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    return head.ljust(256, b"\0") + array.tobytes()


def refusal(source: object, **options: int) -> ReadError:
    with pytest.raises(ReadError) as caught:
        read(source, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"{caught.value.file}: {caught.value.reason}; {caught.value.remedy}"
    return caught.value


GREY8 = {
    "png": saved(RAMP, "PNG"),
    "tiff": saved(RAMP, "TIFF"),
    "tiff lzw": saved(RAMP, "TIFF", compression="tiff_lzw"),
    "tiff deflate": saved(RAMP, "TIFF", compression="tiff_deflate"),
    "tiff by hand": tiff(RAMP, 1),
    "tiff white is zero": tiff(255 - RAMP, 0),
    "png of colour type RGB": saved(np.dstack([RAMP] * 3), "PNG"),
    "tiff of colour type RGB": saved(np.dstack([RAMP] * 3), "TIFF"),
    "png grey and alpha": saved(np.dstack([RAMP, RAMP[::-1]]), "PNG"),
    "png RGBA": saved(np.dstack([RAMP, RAMP, RAMP, RAMP[::-1]]), "PNG"),
    "tiff RGBA": saved(np.dstack([RAMP, RAMP, RAMP, RAMP[::-1]]), "TIFF"),
}


@pytest.mark.parametrize("name", GREY8)
def test_8_bits_are_divided_by_255(name: str) -> None:
    radiograph = read(GREY8[name])
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.flags.c_contiguous
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=1e-6)
    assert "grey levels: 8 bits divided by 255" in radiograph.notes
    assert ("alpha channel ignored" in radiograph.notes) == ("alpha" in name or "RGBA" in name)
    assert ("WhiteIsZero inverted" in radiograph.notes) == ("white" in name)


GREY16 = {
    "png": saved(RAMP16, "PNG"),
    "tiff": saved(RAMP16, "TIFF"),
    "tiff deflate": saved(RAMP16, "TIFF", compression="tiff_deflate"),
    "tiff white is zero": tiff(~RAMP16, 0),
    "png of colour type RGB": encoded(".png", np.dstack([RAMP16] * 3)),
    "tiff of colour type RGB": encoded(".tif", np.dstack([RAMP16] * 3)),
    "png RGBA": encoded(".png", np.dstack([RAMP16, RAMP16, RAMP16, RAMP16[::-1]])),
    "tiff RGBA": encoded(".tif", np.dstack([RAMP16, RAMP16, RAMP16, RAMP16[::-1]])),
    "png grey and alpha": png(
        COLUMNS,
        ROWS,
        16,
        4,
        zlib.compress(
            b"".join(b"\0" + row.tobytes() for row in np.dstack([RAMP16, RAMP16 * 0]).astype(">u2"))
        ),
    ),
}


@pytest.mark.parametrize("name", GREY16)
def test_16_bits_are_stretched_between_percentiles(name: str) -> None:
    radiograph = read(GREY16[name])
    np.testing.assert_allclose(radiograph.pixels, percentiles(RAMP16), atol=1e-5)
    assert "grey levels: 0.1 to 99.9 percentile range" in radiograph.notes


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_colour_becomes_luminance(kind: str) -> None:
    radiograph = read(saved(COLOUR, kind, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {})))
    np.testing.assert_allclose(radiograph.pixels, COLOUR @ LUMA / 255, atol=2.1 / 255)
    assert "colour turned to grey" in radiograph.notes
    assert radiograph.origin.format == kind


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_colour_keeps_its_bits_and_the_order_of_its_colours(ending: str) -> None:
    colour = np.dstack([RAMP16, RAMP16[::-1], RAMP16[:, ::-1]])  # red, green, blue
    radiograph = read(encoded(ending, colour[..., ::-1].copy()))  # OpenCV wants blue first
    np.testing.assert_allclose(radiograph.pixels, percentiles(np.rint(colour @ LUMA)), atol=1e-4)
    assert np.unique(radiograph.pixels).size > 256


def test_jpeg_palette_and_single_bits() -> None:
    np.testing.assert_allclose(read(saved(RAMP, "JPEG", quality=98)).pixels, RAMP / 255, atol=4 / 255)
    palette = Image.fromarray(RAMP).convert("P")
    palette.putpalette([value for i in range(256) for value in (255 - i, 255 - i, 255 - i)])
    stream = io.BytesIO()
    palette.save(stream, "PNG")
    np.testing.assert_allclose(read(stream.getvalue()).pixels, 1 - RAMP / 255, atol=1e-6)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read(saved(RAMP > 99, kind)).pixels, (RAMP > 99).astype(np.float32))
    fax = saved(RAMP > 99, "TIFF", compression="group4")
    np.testing.assert_array_equal(read(fax).pixels, (RAMP > 99).astype(np.float32))


STORED = {  # orientation -> how an upright film is stored (EXIF 2.32, tag 274)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 1)[:, ::-1],
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "PNG16", "TIFF16"])
def test_exif_rotation_is_undone(orientation: int, kind: str) -> None:
    film = RAMP16 if kind.endswith("16") else RAMP
    array = np.ascontiguousarray(STORED[orientation](film))
    exif = Image.Exif()
    exif[274] = orientation
    if kind.startswith("TIFF"):
        data = saved(array, "TIFF", tiffinfo={274: orientation})
    else:
        data = saved(array, kind.removesuffix("16"), exif=exif, **({"quality": 99} if kind == "JPEG" else {}))
    radiograph = read(data)
    expected = percentiles(film) if kind.endswith("16") else film / 255
    np.testing.assert_allclose(radiograph.pixels, expected, atol=0.03 if kind == "JPEG" else 1e-5)
    assert (f"turned upright: orientation {orientation}" in radiograph.notes) == (orientation != 1)


def test_16_bit_colour_is_turned_too() -> None:
    data = encoded(".png", np.dstack([np.rot90(RAMP16, 1).copy()] * 3))
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    np.testing.assert_allclose(read(data[:33] + chunk + data[33:]).pixels, percentiles(RAMP16), atol=1e-5)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(GREY8["png"])
    by_path, by_name, by_bytes = read(path), read(str(path)), read(GREY8["png"])
    assert by_path.origin.format == "PNG"
    assert by_path.origin.path == by_name.origin.path == str(path)
    assert by_bytes.origin.path == "<bytes>"
    assert by_path.origin.sha256 == by_bytes.origin.sha256
    assert len(by_path.origin.sha256) == 64
    assert by_path.spacing is by_path.view is by_path.origin.header is None
    assert read(by_path) is by_path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, ">u2", np.float32, np.float64])
@pytest.mark.parametrize("colour", [False, True])
def test_arrays(dtype: str, colour: bool) -> None:
    kind = np.dtype(dtype)
    array = (RAMP16 / RAMP16.max() if kind.kind == "f" else RAMP if kind == np.uint8 else RAMP16).astype(kind)
    if kind == np.int16:
        array = array - np.int16(20000)
    before = array.copy()
    radiograph = read(np.dstack([array] * 3) if colour else array)
    expected = array if kind.kind == "f" else array / 255 if kind == np.uint8 else percentiles(array)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-4 if colour else 1e-5)
    assert radiograph.origin.format == "array"
    radiograph.pixels[:] = 0
    np.testing.assert_array_equal(array, before)  # the caller's own array is never written to


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (RAMP.astype(bool), "type bool"),
        (RAMP.astype(np.int64), "type int64"),
        (RAMP.astype(np.complex64), "type complex64"),
        (RAMP.astype(object), "type object"),
        (RAMP.astype(np.float32), r"outside \[0, 1\]"),
        (RAMP / -255, r"outside \[0, 1\]"),
        (np.where(RAMP > 9, np.nan, 0.5), "NaN"),
        (np.where(RAMP > 9, np.inf, 0.5), r"outside \[0, 1\]"),
        (RAMP[0], "shape"),
        (RAMP[None], "shape"),
        (np.dstack([RAMP] * 4), "shape"),
        (np.zeros((64, 64), np.uint8), "constant"),
        (np.full((64, 64), 0.5), "constant"),
        (np.full((64, 64), 7, np.uint16), "constant"),
        (RAMP[:15], "15 x 56 pixels are too few"),
        (RAMP[:, :15], "40 x 15 pixels are too few"),
        (RAMP[:0], "0 x 56 pixels are too few"),
    ],
)
def test_arrays_refused(array: np.ndarray, reason: str) -> None:
    error = refusal(array)
    assert error.file == "<array>"
    with pytest.raises(ReadError, match=reason):
        read(array)


def test_an_image_whose_percentiles_meet_is_still_read() -> None:
    array = np.zeros((64, 64), np.uint16)
    array[30, 30] = 9
    radiograph = read(array)
    assert radiograph.pixels.max() == 1
    assert any("minimum to maximum" in note for note in radiograph.notes)


def test_sources_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.png").reason == "no such file"
    assert "folder" in refusal(tmp_path).reason
    (tmp_path / "empty.png").touch()
    assert refusal(tmp_path / "empty.png").reason == refusal(b"").reason == "empty file"
    assert "cannot be opened" in refusal("a\0b").reason
    assert "cannot be opened" in refusal("a" * 5000).reason
    assert "neither" in refusal(None).reason
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe").reason
    with (tmp_path / "vast.png").open("wb") as file:
        file.truncate(2**40)  # sparse: nothing is stored
    assert "more than any film" in refusal(tmp_path / "vast.png").reason


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(GREY8["png"])

    def deny(_: Path) -> bytes:  # chmod does not stop the superuser, who may run the tests
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert refusal(path).reason == "permission denied"


@pytest.mark.parametrize(
    "data",
    [b"x", b"hello world" * 99, bytes(999), b"GIF89a" + bytes(99), b"%PDF-1.7", b"\x08\x00", b"\0\0\2\0"],
)
def test_what_is_no_film_is_refused(data: bytes) -> None:
    assert refusal(data).reason == "not a DICOM, PNG, JPEG or TIFF file"


def test_several_frames_are_refused() -> None:
    pages = [Image.fromarray(RAMP), Image.fromarray(RAMP[::-1].copy())]
    for kind, reason in (("PNG", "2 frames, expected 1"), ("TIFF", "several pages, expected 1 frame")):
        stream = io.BytesIO()
        pages[0].save(stream, kind, save_all=True, append_images=pages[1:])
        assert refusal(stream.getvalue()).reason == reason


def test_other_depths_are_refused() -> None:
    for kind in (np.float32, np.int32):
        assert "32 bits" in refusal(saved(RAMP.astype(kind), "TIFF")).reason


def in_planes(planes: np.ndarray) -> bytes:
    """A TIFF of colours (3, H, W), one strip each."""
    strip, bits = planes[0].nbytes, 8 * planes.itemsize
    fields = {
        256: [COLUMNS],
        257: [ROWS],
        258: [bits] * 3,
        259: [1],
        262: [2],
        277: [3],
        278: [ROWS],
        284: [2],
    }
    fields |= {273: [8 + strip * i for i in range(3)], 279: [strip] * 3}
    directory, more, after = b"", b"", 8 + planes.nbytes + 2 + 12 * len(fields) + 4
    for tag, values in sorted(fields.items()):
        place = values[0] if len(values) == 1 else after + len(more)
        more += struct.pack("<3I", *values) if len(values) == 3 else b""
        directory += struct.pack("<HHII", tag, 4, len(values), place)
    head = b"II*\0" + struct.pack("<I", 8 + planes.nbytes)
    return head + planes.tobytes() + struct.pack("<H", len(fields)) + directory + bytes(4) + more


def test_a_tiff_that_a_decoder_would_get_wrong_is_refused() -> None:
    planes = np.stack([RAMP16, RAMP16[::-1], RAMP16[:, ::-1]])
    assert "separate planes" in refusal(in_planes(planes)).reason
    np.testing.assert_allclose(
        read(in_planes(planes.astype(np.uint8))).pixels,
        np.moveaxis(planes.astype(np.uint8), 0, 2) @ LUMA / 255,
        atol=1.01 / 255,
    )
    signed = (RAMP.astype(np.int16) - 128).astype(np.int8)
    assert "signed" in refusal(tiff(signed, 1, sample_format=2)).reason
    np.testing.assert_allclose(read(tiff(RAMP, 1, sample_format=1)).pixels, RAMP / 255, atol=1e-6)


def test_constant_and_tiny_images_are_refused() -> None:
    for kind in ("PNG", "TIFF", "JPEG"):
        assert "constant" in refusal(saved(RAMP * 0 + 128, kind)).reason
        assert "15 x 15 pixels are too few" in refusal(saved(RAMP[:15, :15].copy(), kind)).reason
        assert read(saved(RAMP[:16, :16].copy(), kind)).pixels.shape == (16, 16)


def test_the_pixel_budget_is_inclusive() -> None:
    for source in (RAMP, *GREY8.values(), *GREY16.values()):
        assert read(source, pixel_budget=ROWS * COLUMNS).pixels.shape == (ROWS, COLUMNS)
        assert "pixel budget" in refusal(source, pixel_budget=ROWS * COLUMNS - 1).reason


BOMBS = {
    "png declares 10 gigapixels": (lambda: png(100_000, 100_000, 8, 0, zlib.compress(b"")), "pixel budget"),
    "tiff declares 10 gigapixels": (
        lambda: tiff(RAMP, 1, width=100_000, length=100_000),
        "pixel budget",
    ),
    "jpeg declares 4 gigapixels": (
        lambda: (
            b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xdc\xff\xdc\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(99)
        ),
        "pixel budget",
    ),
    "png inflates to 400 MB": (lambda: png(64, 64, 8, 0, zlib.compress(bytes(400_000_000))), "constant"),
    "png16 inflates to 400 MB": (lambda: png(64, 64, 16, 2, zlib.compress(bytes(400_000_000))), "constant"),
    "tiff of vast tiles": (
        lambda: tiff(
            RAMP, 1, offset=-1, bytes=-1, tile_width=65536, tile_length=65536, tiles=256, tile_bytes=99
        ),
        "tiles",
    ),
    "png without its pixels": (lambda: png(10_000, 10_000, 8, 2, zlib.compress(b"")), "OSError"),
    "tiff without its pixels": (
        lambda: tiff(RAMP, 1, width=9000, length=9000, bytes=81_000_000),
        "truncated",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    read(GREY8["png"])  # imports and caches must not count
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert reason in refusal(data).reason
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kB


@pytest.mark.parametrize("data", [*GREY8.values(), *GREY16.values(), saved(RAMP, "JPEG")])
def test_a_truncated_image_is_refused_or_whole(data: bytes) -> None:
    whole = read(data).pixels
    refused = 0
    for length in range(1, len(data), max(len(data) // 60, 1)):
        try:
            pixels = read(data[:length]).pixels
        except ReadError:
            refused += 1
        else:  # only bytes after the pixels were cut off: nothing is ever filled in
            np.testing.assert_array_equal(pixels, whole)
    assert refused > 40


def test_errors_survive_a_copy() -> None:  # as they must to cross from one process to another
    error = refusal(b"x")
    twin = copy.copy(error)
    assert (twin.file, twin.reason, twin.remedy) == (error.file, error.reason, error.remedy)


def test_any_failure_of_a_decoder_ends_in_a_read_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """As decoders written in Rust raise it."""

    for failure in (Panic("secret"), RuntimeError("secret"), RecursionError("secret"), MemoryError("secret")):

        def fail(*_: object, failure: BaseException = failure, **__: object) -> Radiograph:
            raise failure

        monkeypatch.setattr("hilum.reading.image.read_image", fail)
        assert "secret" not in str(refusal(GREY8["png"]))
    for interruption in (KeyboardInterrupt, SystemExit):

        def interrupt(*_: object, raised: type[BaseException] = interruption, **__: object) -> Radiograph:
            raise raised

        monkeypatch.setattr("hilum.reading.image.read_image", interrupt)
        with pytest.raises(interruption):
            read(GREY8["png"])


def test_hushed_stays_hushed_where_it_is_asked_for_twice() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with hushed():
            with hushed():
                pass
            warnings.warn("of a header", UserWarning, stacklevel=1)
        warnings.warn("of something else", UserWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["of something else"]


def test_warnings_are_hushed_in_the_reading_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from hilum.reading import image as read_image

    inside, warned = threading.Event(), threading.Event()
    genuine = read_image.read_image

    def noisy(*args: object, **options: object) -> Radiograph:
        inside.set()
        assert warned.wait(10)
        warnings.warn("from a decoder", UserWarning, stacklevel=1)
        logging.getLogger("pydicom").warning("from a decoder")
        return genuine(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("hilum.reading.image.read_image", noisy)
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    logging.getLogger("pydicom").addHandler(handler)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, GREY8["png"])
        assert inside.wait(10)
        with pytest.warns(UserWarning, match="from elsewhere"):
            warnings.warn("from elsewhere", UserWarning, stacklevel=1)
        logging.getLogger("pydicom").warning("from elsewhere")
        warned.set()
        assert reading.result(10).pixels.shape == (ROWS, COLUMNS)
    logging.getLogger("pydicom").removeHandler(handler)
    assert [line.getMessage() for line in lines] == ["from elsewhere"]


def test_threads_decode_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from hilum.reading import image as read_image

    both = threading.Barrier(2, timeout=10)  # passes only when two threads stand within the decoder
    genuine = read_image.read_image

    def meeting(*args: object, **options: object) -> Radiograph:
        both.wait()
        return genuine(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("hilum.reading.image.read_image", meeting)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(read, [GREY8["png"]] * 8))
    assert all(np.array_equal(result.pixels, results[0].pixels) for result in results)


def test_importing_and_reading_load_only_what_they_need() -> None:
    code = (
        "import sys; from hilum.reading.reader import read\n"
        "heavy = ('PIL', 'cv2', 'pydicom', 'torch', 'onnxruntime')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "read(sys.stdin.buffer.read()); print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=GREY8["png"], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["[]", "['PIL']"]
