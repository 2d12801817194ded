"""Films that crash, hang or bloat their decoder do no harm, and sound ones come through unchanged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hilum.data.phantom import draw
from hilum.errors import ConfigError, ReadError
from hilum.reading import guarded
from hilum.reading.guarded import Decoder, Decoders
from hilum.reading.reader import read

FILM = cv2.imencode(".png", draw(3, size=256).pixels)[1].tobytes()

FAKE = """
import json, os, struct, sys, time
def ask():
    length, size = struct.unpack(">IQ", sys.stdin.buffer.read(12))
    how = sys.stdin.buffer.read(length)
    return sys.stdin.buffer.read(size)
def say(document, rest=b""):
    text = json.dumps(document).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(text)) + text + rest)
    sys.stdout.buffer.flush()
WHOLE = dict(shape=[2, 2], spacing=None, view=None, notes=[], sha256="", format="PNG", dicom=False,
             implicit=False, little=True, modality="", body_part="", supine=False, age=None, meta=0, header=0)
film = ask()
"""

HOSTILE = {
    "crash": "os.abort()",
    "exit": "os._exit(3)",
    "half an answer": "say(WHOLE, b'1234'); os._exit(0)",
    "no JSON": "sys.stdout.buffer.write(b'\\0\\0\\0\\4oops'); sys.stdout.buffer.flush(); time.sleep(60)",
    "endless text": "sys.stdout.buffer.write(b'\\xff' * 2**22); sys.stdout.buffer.flush(); time.sleep(60)",
    "more pixels than allowed": "say(WHOLE | {'shape': [10**6, 10**6]})",
    "a negative shape": "say(WHOLE | {'shape': [-2, 2]})",
    "a huge header": "say(WHOLE | {'header': 2**40})",
    "an error without words": "say({'error': 5, 'leaving': False})",
    "an answer without an end": "say({'error': {'reason': 'a', 'remedy': 'b'}})",
    "another kind of JSON": "say([1, 2])",
}


def dicom(**elements: object) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    pixels = draw(4, size=128).pixels
    given = {
        "Rows": 128,
        "Columns": 128,
        "SamplesPerPixel": 1,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": pixels.tobytes(),
        "SOPClassUID": "1.2",
        "PatientName": "Doe^Jane",
    }
    for keyword, value in (given | elements).items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with Decoder() as decoder:
        yield decoder


def test_a_film_comes_through_as_if_it_were_read_here(decoder: Decoder) -> None:
    here, there = read(FILM), decoder.read(FILM, "case.png")
    assert there.origin.path == "case.png"
    assert there.pixels.dtype == np.float32
    assert np.array_equal(there.pixels, here.pixels)
    assert (there.notes, there.spacing, there.view) == (here.notes, here.spacing, here.view)
    assert (there.origin.sha256, there.origin.format) == (here.origin.sha256, "PNG")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_header_comes_through_element_by_element(decoder: Decoder, syntax: str) -> None:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-28000", "Lung"
    film = dicom(syntax=syntax, PixelSpacing=[0.2, 0.3], PatientAge="018M", AnatomicRegionSequence=[item],
                 SpecificCharacterSet="ISO_IR 192", InstitutionName="Kühn")  # fmt: skip
    here, there = read(film), decoder.read(film)
    assert there.origin.header == here.origin.header
    assert there.origin.header.file_meta.TransferSyntaxUID == syntax
    assert there.origin.header.InstitutionName == "Kühn"
    assert there.origin.header.AnatomicRegionSequence[0].CodeMeaning == "Lung"
    assert "PixelData" not in there.origin.header
    assert there.spacing == (0.2, 0.3)
    assert there.origin.age == here.origin.age == 1.5


def test_what_cannot_be_read_is_refused_with_the_readers_own_words(decoder: Decoder) -> None:
    with pytest.raises(ReadError) as here:
        read(b"GIF89a")
    with pytest.raises(ReadError) as there:
        decoder.read(b"GIF89a", "a.gif")
    assert there.value.file == "a.gif"
    assert (there.value.reason, there.value.remedy) == (here.value.reason, here.value.remedy)
    assert decoder.deaths == 0
    assert decoder.read(FILM).pixels.shape == (256, 256)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_decoder_that_fails_in_any_way_is_a_read_error_and_replaced(name: str, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(FAKE + HOSTILE[name])
    with Decoder(seconds=5, command=(sys.executable, str(script))) as decoder:
        for deaths in (1, 2):
            with pytest.raises(ReadError, match=r"^film: its decoder|^film: decoding"):
                decoder.read(FILM, "film")
            assert decoder.deaths == deaths


def test_after_an_interruption_no_film_gets_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    other = cv2.imencode(".png", draw(4, size=128).pixels[:100])[1].tobytes()
    with Decoder() as decoder:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(guarded, "_size", interrupted)
            decoder.read(FILM)
        assert decoder.read(other).pixels.shape == (100, 128)


@pytest.mark.parametrize("hang", ["time.sleep(600)", "while True: pass", "say(WHOLE); time.sleep(600)"])
def test_a_decoder_that_hangs_is_ended_in_time(
    hang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.reading.guarded._STARTING", 2.0)
    script = tmp_path / "child.py"
    script.write_text(FAKE + hang)
    with Decoder(seconds=1, command=(sys.executable, str(script))) as decoder:
        began = time.monotonic()
        with pytest.raises(ReadError, match="took more than 1 s"):
            decoder.read(FILM)
        assert time.monotonic() - began < 10


def test_a_child_that_takes_nothing_in_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.reading.guarded._STARTING", 1.0)
    script = tmp_path / "child.py"
    script.write_text("import time; time.sleep(600)")
    with (
        Decoder(seconds=1, command=(sys.executable, str(script))) as decoder,
        pytest.raises(ReadError, match="took more than"),
    ):
        decoder.read(bytes(2**24))


def test_a_film_larger_than_the_memory_is_refused_and_the_next_one_read() -> None:
    large = cv2.imencode(".png", np.tile(np.arange(5000, dtype=np.uint16).astype(np.uint8), (5000, 1)))[
        1
    ].tobytes()
    with Decoder(memory=2**26) as decoder:
        with pytest.raises(ReadError, match=r"memory|crashed"):
            decoder.read(large)
        assert decoder.read(FILM).pixels.shape == (256, 256)
    with Decoder(memory=2**31) as decoder:
        assert decoder.read(large).pixels.shape == (5000, 5000)


def test_more_pixels_than_the_budget_are_refused() -> None:
    with Decoder(pixel_budget=1000) as decoder, pytest.raises(ReadError, match="256 x 256 pixels are more"):
        decoder.read(FILM)


def test_a_child_knows_no_secrets_and_ends_with_its_parent() -> None:
    code = f"""
import os, sys, time
os.environ["HILUM_TOKEN"] = "geheim"
from hilum.reading.guarded import Decoder
decoder = Decoder()
decoder.read({FILM!r})
print(decoder._child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert b"geheim" not in Path(f"/proc/{child}/environ").read_bytes()
    assert "Max core file size        0 " in Path(f"/proc/{child}/limits").read_text()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_pool_reads_from_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    decoders = Decoders(2)
    with ThreadPoolExecutor(6) as pool:
        films = list(pool.map(decoders.read, [FILM] * 6))
    assert all(film.pixels.shape == (256, 256) for film in films)
    assert decoders.deaths == 0
    decoders.close()


def test_windows_is_refused_and_macos_goes_without_a_bound_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from hilum.reading import guarded_child

    limits: list[int] = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, _: limits.append(what))
    guarded_child._confine(0, 2**30)
    assert resource.RLIMIT_AS not in limits and resource.RLIMIT_CORE in limits
    guarded_child._confine(2**20, 2**30)
    assert resource.RLIMIT_AS in limits
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ConfigError, match="needs Linux or macOS; run Hilum in a Linux container"):
        Decoder()
