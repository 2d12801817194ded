"""Services with synthetic films, each in its own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import pytest
from pydicom.uid import generate_uid
from starlette.testclient import TestClient

import hilum
from hilum.data.phantom import draw
from hilum.pipeline import Pipeline
from hilum.serve.app import create_app
from hilum.serve.service import Service
from hilum.serve.settings import Settings

KUNIGUNDE = {
    "PatientName": "Zwetschgenberg^Kunigunde",
    "PatientID": "PID-4711-GEHEIM",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "StudyDate": "20260101",
    "StudyTime": "081500",
}


def _png(seed: int = 3, size: int = 256) -> bytes:
    encoded: bytes = cv2.imencode(".png", draw(seed, size=size).pixels)[1].tobytes()
    return encoded


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes a synthetic film as PNG, from a seed and a size."""
    return _png


@pytest.fixture(scope="session")
def dicom(dicom_film: Callable[..., bytes]) -> Callable[..., bytes]:
    """Makes a synthetic film as DICOM, from a seed and header elements; the default patient is Kunigunde."""

    def make(seed: int = 3, **elements: Any) -> bytes:
        names = {"SOPInstanceUID": "film", "StudyInstanceUID": "study", "SeriesInstanceUID": "series"}
        given = {keyword: generate_uid(entropy_srcs=[str(seed), what]) for keyword, what in names.items()}
        return dicom_film(seed=seed, **(given | KUNIGUNDE | elements))

    return make


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    return hilum.load(threads=1)


class Client(TestClient):
    """A client on the same machine as the service, with access to the service object."""

    @property
    def service(self) -> Service:
        service: Service = self.app.app.state.service  # type: ignore[attr-defined]
        return service

    def predict(self, film: bytes) -> dict[str, Any]:
        """The result document of a film."""
        answer = self.post("/v1/predict", content=film, headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document


def _start(stack: ExitStack, pipeline: Pipeline, data: Path, settings: dict[str, Any]) -> Client:
    app = create_app(Settings(**{"data": data, "decoders": 1} | settings), pipeline)
    return stack.enter_context(Client(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False))


@pytest.fixture
def serve(pipeline: Pipeline, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Starts a new service and returns a client; the arguments are those of Settings."""
    with ExitStack() as stack:
        yield lambda **settings: _start(stack, pipeline, tmp_path / "data", settings)


@pytest.fixture(scope="module")
def client(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of one service shared by the tests of a module."""
    with ExitStack() as stack:
        yield _start(stack, pipeline, tmp_path_factory.mktemp("data"), {})
