"""Every file that the packages pydicom and pydicom-data bring, and real films: read, or refused in words."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import resource
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from hilum.errors import ReadError
from hilum.reading.reader import read
from hilum.types import Radiograph


def installed() -> dict[str, Path]:
    """All files of both packages, by name; found by walking, for their own look-up functions download."""
    folders = [Path(pydicom.__file__).parent / "data"]
    extra = importlib.util.find_spec("data_store")
    folders += [Path(place) for place in (extra.submodule_search_locations or ())] if extra else []
    found: dict[str, Path] = {}
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                path = Path(where) / name
                found[str(path.relative_to(folder))] = path
    return {name: path for name, path in found.items() if path.suffix not in (".py", ".pyc")}


FILES = installed()
NAMED = {path.name: path for path in FILES.values()}
with_data = pytest.mark.skipif("RG1_UNCR.dcm" not in NAMED, reason="needs the package pydicom-data")


def attempt(source: Path | bytes) -> Radiograph | ReadError:
    try:
        return read(source)
    except ReadError as error:
        return error


def check(radiograph: Radiograph) -> None:
    """What every Radiograph promises."""
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2
    assert min(pixels.shape) >= 16
    assert pixels.flags.c_contiguous
    assert 0 <= pixels.min() < pixels.max() <= 1  # NaN would fail too
    assert radiograph.spacing is None or min(radiograph.spacing) > 0


def test_every_installed_file_is_read_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = {name: attempt(path) for name, path in FILES.items()}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    held = sum(result.pixels.nbytes for result in results.values() if isinstance(result, Radiograph)) / 1024
    assert grown < held + 250_000  # kB
    readable = [result for result in results.values() if isinstance(result, Radiograph)]
    for radiograph in readable:
        check(radiograph)
    assert len(readable) >= (120 if "RG1_UNCR.dcm" in NAMED else 60)
    for error in results.values():
        # Only damaged files are refused as damaged.
        assert isinstance(error, Radiograph) or "malformed content" not in error.reason
    assert "pydicom" not in capfd.readouterr().err


READ = [
    "chrFren.dcm",
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "image_dfl.dcm",
]
READ_DATA = [
    "RG1_J2KI.dcm",
    "RG1_J2KR.dcm",
    "RG1_UNCI.dcm",
    "RG1_UNCR.dcm",
    "RG3_J2KI.dcm",
    "RG3_J2KR.dcm",
    "RG3_UNCI.dcm",
    "RG3_UNCR.dcm",
    "693_J2KR.dcm",
    "693_UNCI.dcm",
    "JPEG-LL.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "MR2_J2KI.dcm",
    "MR2_J2KR.dcm",
    "MR2_UNCR.dcm",
    "OBXXXX1A.dcm",
    "OBXXXX1A_expb.dcm",
    "OBXXXX1A_rle.dcm",
    "OT-PAL-8-face.dcm",
    "SC_rgb_16bit.dcm",
    "SC_rgb_expb_16bit.dcm",
    "SC_ybr_full_uncompressed.dcm",
    "US1_J2KI.dcm",
    "US1_UNCR.dcm",
    "bad_sequence.dcm",
    "color-pl.dcm",
    "color-px.dcm",
    "explicit_VR-UN.dcm",
    "gdcm-US-ALOKA-16.dcm",
    "gdcm-US-ALOKA-16_big.dcm",
    "mlut_18.dcm",
    "vlut_04.dcm",
]


@pytest.mark.parametrize("name", [*READ, *(pytest.param(name, marks=with_data) for name in READ_DATA)])
def test_sound_files_are_read(name: str) -> None:
    result = attempt(NAMED[name])
    assert isinstance(result, Radiograph), result
    assert result.origin.format == "DICOM"


REFUSED = {
    "JPEG-lossy.dcm": "JPEG Extended (Process 2 and 4) of 12 bits has no permissive decoder",
    "JPGExtended.dcm": "JPEG Extended (Process 2 and 4) of 12 bits has no permissive decoder",
    "JPEG2000-embedded-sequence-delimiter.dcm": "the compressed frame is",
    "JPEGLSNearLossless_08.dcm": "45 x 10 pixels are too few",
    "MR_truncated.dcm": "truncated: 8130 of 8192 bytes",
    "SC_rgb_rle_2frame.dcm": "2 frames, expected 1",
    "SC_rgb_rle_32bit.dcm": "32 bits allocated",
    "SC_rgb_small_odd.dcm": "3 x 3 pixels are too few",
    "examples_ybr_color.dcm": "30 frames, expected 1",
    "liver_1frame.dcm": "1 bits allocated",
    "DICOMDIR": "no pixel data",
    "reportsi.dcm": "no pixel data",
    "rtplan.dcm": "no pixel data",
    "rtstruct.dcm": "no pixel data",
    "waveform_ecg.dcm": "no pixel data",
    "hotiron.dcm": "no pixel data",
    "README.txt": "not a DICOM, PNG, JPEG or TIFF file",
    "zipMR.gz": "not a DICOM, PNG, JPEG or TIFF file",
    "urls.json": "not a DICOM, PNG, JPEG or TIFF file",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_for_the_right_reason(name: str) -> None:
    result = attempt(NAMED[name])
    assert isinstance(result, ReadError)
    assert REFUSED[name] in result.reason


@pytest.mark.parametrize(
    ("names", "tolerance"),
    [
        (("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"), 0),
        (("MR_small.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"), 0),
        pytest.param(("RG1_UNCR.dcm", "RG1_J2KR.dcm"), 0, marks=with_data),
        pytest.param(("RG3_UNCR.dcm", "RG3_J2KR.dcm"), 0, marks=with_data),
        pytest.param(("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm", "OBXXXX1A_rle.dcm"), 0, marks=with_data),
        pytest.param(
            ("SC_rgb.dcm", "SC_rgb_expb.dcm", "SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm"), 0, marks=with_data
        ),
        pytest.param(("US1_UNCR.dcm", "US1_J2KR.dcm"), 0, marks=with_data),
        # UNCI is the lossy J2KI decoded, by another decoder that may round differently.
        pytest.param(("RG1_UNCI.dcm", "RG1_J2KI.dcm"), 1 / 255, marks=with_data),
        pytest.param(("RG3_UNCI.dcm", "RG3_J2KI.dcm"), 1 / 255, marks=with_data),
        pytest.param(("MR2_UNCI.dcm", "MR2_J2KI.dcm"), 1 / 255, marks=with_data),
        pytest.param(("US1_UNCI.dcm", "US1_J2KI.dcm"), 2 / 255, marks=with_data),
        pytest.param(
            ("SC_rgb.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"), 3 / 255, marks=with_data
        ),
        pytest.param(("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"), 0, marks=with_data),
    ],
)
def test_encodings_of_one_image_agree(names: tuple[str, ...], tolerance: float) -> None:
    first, *others = (read(NAMED[name]).pixels for name in names)
    for other in others:
        np.testing.assert_allclose(other, first, atol=tolerance + 1e-6)


@with_data
def test_lossy_encodings_are_near() -> None:
    for exact, lossy in (("RG1_UNCR.dcm", "RG1_J2KI.dcm"), ("RG3_UNCR.dcm", "RG3_J2KI.dcm")):
        difference = np.abs(read(NAMED[exact]).pixels - read(NAMED[lossy]).pixels)
        assert difference.mean() < 1 / 255
        assert np.percentile(difference, 99) < 3 / 255


def recoded(syntax: uid.UID) -> bytes:
    """A part of the chest film RG1 in another transfer syntax."""
    dataset = pydicom.dcmread(NAMED["RG1_UNCR.dcm"])
    part = dataset.pixel_array[600:900, 300:700].copy()
    dataset.Rows, dataset.Columns = part.shape
    dataset.PixelData = part.astype(">u2" if syntax == uid.ExplicitVRBigEndian else "<u2").tobytes()
    stream = io.BytesIO()
    if syntax.is_encapsulated:
        dataset.compress(syntax, part, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    pydicom.dcmwrite(stream, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    return stream.getvalue()


@with_data
def test_one_film_in_every_lossless_syntax(tmp_path: Path) -> None:
    plain = recoded(uid.ExplicitVRLittleEndian)
    expected = read(plain).pixels
    syntaxes = (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian)
    for syntax in (*syntaxes, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless):
        np.testing.assert_array_equal(read(recoded(syntax)).pixels, expected, err_msg=syntax.name)
    (tmp_path / "plain.dcm").write_bytes(plain)
    for kind in (gdcm.TransferSyntax.JPEGLosslessProcess14, gdcm.TransferSyntax.JPEGLosslessProcess14_1):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(tmp_path / "plain.dcm"))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(tmp_path / "lossless.dcm"))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        np.testing.assert_array_equal(read(tmp_path / "lossless.dcm").pixels, expected)


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        pytest.param("bad_sequence.dcm", marks=with_data),
    ],
)
def test_half_a_compressed_frame_is_never_filled_up(name: str) -> None:
    dataset = pydicom.dcmread(NAMED[name])
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    for share in (0.3, 0.6, 0.9, 1):
        dataset.PixelData = encapsulate([frame[: int(len(frame) * share)]])
        stream = io.BytesIO()
        dataset.save_as(stream)
        result = attempt(stream.getvalue())
        assert isinstance(result, Radiograph if share == 1 else ReadError)


@with_data
def test_grey_levels_agree_with_pydicom() -> None:
    for name in ("mlut_18.dcm", "vlut_04.dcm", "RG1_UNCR.dcm", "MR2_UNCR.dcm", "693_UNCR.dcm"):
        dataset = pydicom.dcmread(NAMED[name])
        values = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
        values = pydicom.pixels.apply_voi_lut(values, dataset).astype(float)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            values = -values
        assert np.corrcoef(values.ravel(), read(NAMED[name]).pixels.ravel())[0, 1] > 0.9999


@with_data
def test_a_chest_film_has_dark_lungs_and_a_bright_spine() -> None:
    pixels = read(NAMED["RG1_UNCR.dcm"]).pixels
    height, width = pixels.shape
    lung = pixels[int(0.35 * height) : int(0.5 * height), int(0.22 * width) : int(0.3 * width)].mean()
    spine = pixels[int(0.5 * height) : int(0.7 * height), int(0.47 * width) : int(0.53 * width)].mean()
    assert lung < spine - 0.15


def films() -> list[Path]:
    root = Path(os.environ.get("HILUM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    found = sorted((root / "dicom").glob("*.dcm"))
    if not found and os.environ.get("HILUM_REQUIRE_FILMS") == "1":
        pytest.fail(f"no films under {root}, but HILUM_REQUIRE_FILMS=1")
    if not found:
        pytest.skip(f"no films under {root}; set HILUM_DATA")
    return found


def test_real_films() -> None:
    radiographs = {path.name: read(path) for path in films()}
    for radiograph in radiographs.values():
        check(radiograph)
        pixels = radiograph.pixels
        height, width = pixels.shape
        assert radiograph.view == "PA"
        spine = pixels[height // 2 : int(0.7 * height), int(0.47 * width) : int(0.53 * width)].mean()
        lung = pixels[int(0.35 * height) : height // 2, int(0.25 * width) : int(0.33 * width)].mean()
        assert lung < spine - 0.1
    one, baseline = radiographs["gdcm-CR-MONO1-10-chest.dcm"], radiographs["chest-mono2-jpeg-baseline.dcm"]
    assert "inverted once: MONOCHROME1" in one.notes
    assert one.spacing is None
    assert baseline.spacing == (0.168, 0.168)


SEEDS = [
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "chrFren.dcm",
    "PNG",
    "JPEG",
    "TIFF",
    "PNG16",
    "TIFF16",
    "LZW",
]


def sample(name: str) -> bytes:
    if name in NAMED:
        return NAMED[name].read_bytes()
    grey = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8), (0, 0), 2)
    if name.endswith("16"):
        colour = np.dstack([grey.astype(np.uint16) * 200] * 3)
        return cv2.imencode(".png" if name == "PNG16" else ".tif", colour)[1].tobytes()
    stream = io.BytesIO()
    kind, options = ("TIFF", {"compression": "tiff_lzw"}) if name == "LZW" else (name, {})
    Image.fromarray(grey).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", SEEDS)
def test_damage_never_ends_in_another_error(name: str) -> None:
    whole = sample(name)
    check(read(whole))
    chance = random.Random(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = set()
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            del data[chance.randrange(1, len(data)) :]
        else:
            reach = len(data) if turn % 3 == 1 else min(len(data), 2000)
            for _ in range(chance.choice((1, 2, 5, 20))):
                data[chance.randrange(reach)] = chance.randrange(256)
        result = attempt(bytes(data))
        outcomes.add(type(result))
        if isinstance(result, Radiograph):
            check(result)
    assert ReadError in outcomes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
