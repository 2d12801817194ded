"""Update the reference (golden) outputs of `hilum selftest` after a model has changed: `make golden`.

The films are synthetic and kept as files, so that every version of every library reads the same bytes.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import cv2
import gdcm
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from hilum.calibration.calibrate import logit
from hilum.card import read_card
from hilum.data.phantom import draw
from hilum.pipeline import Pipeline, load
from hilum.runtime import find, shipped_names
from hilum.selftest import GOLDEN, IMAGE, LOG_ODDS, RESULTS, outputs
from hilum.types import Array, Report

PLAIN = uid.ExplicitVRLittleEndian
PYDICOM = (
    uid.ImplicitVRLittleEndian, PLAIN, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
)  # fmt: skip
GDCM = {
    uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}


def dicom(pixels: Array, syntax: uid.UID, bits: int = 12, frame: bytes = b"") -> bytes:
    """A film (H, W) as a DICOM file without a patient; the same bytes each time."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = PLAIN if syntax.is_encapsulated and not frame else syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "2.25.1"
    dataset.PatientName, dataset.PatientID = "PHANTOM", "PHANTOM"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "AP"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16 if bits > 8 else 8, bits, bits - 1
    dataset.ImagerPixelSpacing = ["0.9", "0.9"]
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    dataset.PixelData = (
        encapsulate([frame]) if frame else pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    )
    dataset["PixelData"].VR = "OB" if frame else "OW"
    dataset["PixelData"].is_undefined_length = bool(frame)
    if syntax.is_encapsulated and not frame:
        dataset.compress(syntax, pixels, generate_instance_uid=False)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def by_gdcm(plain: bytes, kind: int) -> bytes:
    """The frame of an uncompressed file, compressed in a syntax that only GDCM writes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "plain.dcm"), Path(folder, "coded.dcm")
        source.write_bytes(plain)
        reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(source))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return get_frame(dcmread(target).PixelData, 0, number_of_frames=1)


def image() -> Array:
    """64 x 64 pixels from the middle of a film, with a ramp over all 12 bits at the bottom."""
    grey = draw(3, size=384).pixels[160:224, 160:224].astype(np.uint16) * 16
    grey += np.random.default_rng(0).integers(0, 16, grey.shape, dtype=np.uint16)
    grey[-16:] = np.linspace(0, 4095, 16 * 64).astype(np.uint16).reshape(16, 64)
    return grey


def coded(grey: Array) -> dict[str, tuple[str, bytes]]:
    """File name -> transfer syntax and bytes."""
    files = {syntax: dicom(grey, syntax) for syntax in PYDICOM}
    files |= {syntax: dicom(grey, syntax, frame=by_gdcm(files[PLAIN], kind)) for syntax, kind in GDCM.items()}
    jpeg = io.BytesIO()
    Image.fromarray((grey >> 4).astype(np.uint8)).save(jpeg, "JPEG", quality=100)
    files[uid.JPEGBaseline8Bit] = dicom(
        (grey >> 4).astype(np.uint8), uid.JPEGBaseline8Bit, 8, jpeg.getvalue()
    )
    return {f"{syntax.keyword}.dcm": (syntax.keyword, data) for syntax, data in files.items()}


def png(pixels: Array) -> bytes:
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


def films() -> dict[str, bytes]:
    """One film called clear, two with findings as DICOM files, and one that the gate must reject."""
    effusion, heart = (draw(seed, size=384).pixels.astype(np.uint16) * 16 for seed in (21, 24))
    return {
        "clear.png": png(draw(10, size=384).pixels),
        "effusion.dcm": dicom(effusion, uid.JPEGLSLossless),
        "heart.dcm": dicom(heart, uid.JPEG2000Lossless),
        "turned.png": png(np.rot90(draw(1, size=384).pixels).copy()),
    }


def settled(report: Report) -> bool:
    """Whether no score is so close to a threshold that another machine could call it differently."""
    limits = report.cards["classify"].thresholds
    return report.prediction is None or all(
        abs(float(logit(report.prediction[label].probability) - logit(edge))) > 3 * LOG_ODDS
        for label, at in limits.items()
        for edge in (at.value, at.low, at.high)
    )


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    pipeline: Pipeline = load()
    results: dict[str, dict[str, object]] = {
        "models": {name: read_card(find(name)).sha256 for name in shipped_names()},
        "films": {},
        "dicom": {},
    }
    for name, data in films().items():
        (GOLDEN / name).write_bytes(data)
        report = pipeline(data)
        assert settled(report), f"{name}: a call is too close to its threshold; take another film"
        results["films"][name] = outputs(report)
        if report.anatomy is not None:
            (GOLDEN / f"{name}.mask.png").write_bytes(png(report.anatomy.mask))
    (GOLDEN / IMAGE).write_bytes(png(image()))
    for name, (syntax, data) in coded(image()).items():
        (GOLDEN / name).write_bytes(data)
        results["dicom"][name] = syntax
    (GOLDEN / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
