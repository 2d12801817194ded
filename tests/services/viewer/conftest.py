"""The service with its viewer, in a real Chromium; an error in its console also fails the test."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.data.phantom import draw

DESKTOP = {"width": 1440, "height": 900}
TOKEN = "a token that only its tests know"
SENT: dict[tuple[str, str, str], str] = {}  # address, file name, hash -> result
WATCH = """window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.violatedDirective} ${event.blockedURI}`));"""


def lacking(why: str) -> None:
    """Skip because a program is missing, or fail if services are required."""
    if os.environ.get("HILUM_REQUIRE_SERVICES") == "1":
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def served(folder: Path, token: str = "") -> Iterator[str]:
    """A new service on loopback; returns its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from hilum.cli import main; main()", "serve", "--data", str(folder)]
    log = (folder.parent / f"{folder.name}.log").open("wb")
    environment = os.environ | ({"HILUM_TOKEN": token} if token else {})
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=log, stderr=log, env=environment
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, process, Path(log.name))
            yield address
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            pytest.fail(f"hilum serve ended: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()  # noqa: S310 - loopback
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("hilum serve did not answer in a minute")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("service") / "data") as at:
        yield at


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that requires a token."""
    with served(tmp_path_factory.mktemp("locked") / "data", TOKEN) as at:
        yield at


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        lacking("no chromium; install Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@dataclass(kw_only=True)
class Viewer:
    """A page with the viewer, and steps that many tests share."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)

    def visit(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector("#rows-none:not([hidden]), [role=option]", state="attached")

    def add(self, *films: Path) -> None:
        """Send films and wait for the answer to each."""
        self.page.set_input_files("#files", [str(film) for film in films])
        self.page.wait_for_function(
            "n => document.querySelectorAll('#uploads-list li').length >= n", arg=len(films)
        )
        self.page.wait_for_selector("#uploads-cancel", state="hidden", timeout=60_000)

    def open(self, film: Path) -> None:
        """Show a film; send it first if this service has not seen the file."""
        key = self.address, film.name, hashlib.sha256(film.read_bytes()).hexdigest()
        if key in SENT:
            self.page.goto(f"{self.address}/#{SENT[key]}")
        else:
            self.visit()
            if self.page.is_visible("#uploads-clear"):
                self.page.click("#uploads-clear")
            self.add(film)
        self.shown(film.name)
        SENT[key] = self.page.url.split("#")[1]

    def shown(self, name: str) -> None:
        """Wait until the film of this name is shown and fully drawn."""
        self.page.wait_for_function(
            "name => [...document.querySelectorAll('#panel dd')].some(d => d.textContent === name)", arg=name
        )
        self.settled()

    def settled(self) -> None:
        # The film is redrawn in full quality 120 ms after the last movement.
        self.page.wait_for_timeout(250)

    def grey(self, which: str = "active") -> Any:
        """The canvas of a film, (H, W) uint8 grey; 0 outside the film."""
        return self._canvas(f".viewport.{which} canvas.grey")[..., 0]

    def over(self) -> Any:
        """The overlay of the active film, (H, W, 4) uint8."""
        return self._canvas(".viewport.active canvas.over")

    def _canvas(self, selector: str) -> Any:
        url = self.page.evaluate("s => document.querySelector(s).toDataURL()", selector)
        image = cv2.imdecode(
            np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED
        )
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)

    def window(self) -> tuple[int, int]:
        """Window centre and width, as shown in the film's corner."""
        words = self.text(".viewport.active .seen").split()
        return int(words[1]), int(words[3])

    def fetched(self, part: str = "") -> bytes:
        """The result of the open film, or a part of it, from the service."""
        url = f"{self.address}/v1/results/{self.page.url.split('#')[1]}{part}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
            content: bytes = answer.read()
        return content

    def scale(self, which: str = "active") -> int:
        """Screen pixels per film pixel in per cent, as shown in the film's corner."""
        found = re.search(r"(\d+) %", self.text(f".viewport.{which} .seen"))
        assert found is not None
        return int(found.group(1))

    def text(self, selector: str) -> str:
        said: str = self.page.inner_text(selector)
        return said

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


Make = Callable[..., Viewer]


@pytest.fixture
def make(browser: Any, address: str) -> Iterator[Make]:
    """Viewers in separate contexts; none may have logged an error in the end."""
    made: list[tuple[Any, Viewer]] = []

    def one(at: str = address, **options: Any) -> Viewer:
        context = browser.new_context(**{"viewport": DESKTOP, "color_scheme": "dark"} | options)
        context.add_init_script(WATCH)
        viewer = Viewer(page=context.new_page(), address=at)
        viewer.page.on("console", lambda said: _note(viewer, said))
        viewer.page.on("pageerror", lambda error: viewer.complaints.append(str(error)))
        made.append((context, viewer))
        return viewer

    yield one
    for context, viewer in made:
        violations = viewer.page.evaluate("window.violations") or []
        context.close()
        assert not viewer.complaints
        assert not violations


def _note(viewer: Viewer, said: Any) -> None:
    # Chromium itself logs every response of 400 and above; tests check how the page handles it.
    if said.type in ("error", "warning") and not said.text.startswith("Failed to load resource"):
        viewer.complaints.append(said.text)


@pytest.fixture
def viewer(make: Make) -> Viewer:
    return make()


@pytest.fixture(scope="session")
def real() -> Path:
    """The real chest film in the package pydicom-data: 15 bits, no spacing, with a patient name."""
    data_store = pytest.importorskip("data_store", reason="needs pydicom-data")
    return Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """A synthetic film as PNG."""
    path = tmp_path / "phantom.png"
    cv2.imwrite(str(path), draw(4, size=512).pixels)
    return path


@pytest.fixture
def dicom(real: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes DICOM files of a synthetic film: first the file name, then attributes by keyword."""
    pydicom = pytest.importorskip("pydicom")

    def one(name: str, seed: int = 4, **attributes: Any) -> Path:
        film = pydicom.dcmread(real)
        pixels = draw(seed, size=512).pixels.astype(np.uint16) << 7
        film.Rows, film.Columns = pixels.shape
        film.PixelData = pixels.tobytes()
        film.PhotometricInterpretation = "MONOCHROME2"
        del film.PixelSpacing, film.WindowCenter, film.WindowWidth
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hostile names are not valid person names
            for key, value in attributes.items():
                setattr(film, key, value)
            film.save_as(tmp_path / name)
        return tmp_path / name

    return one
