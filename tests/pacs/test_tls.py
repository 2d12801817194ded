"""Certificates are checked, against the system's or those that are named."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hilum.errors import ConfigError
from hilum.pacs.archive import Archive
from hilum.pacs.faults import TroubleError
from hilum.pacs.records import Settings


class Empty(BaseHTTPRequestHandler):
    """An archive that holds nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of an https server, and the certificate that it has signed itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is meant
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://localhost:{server.server_port}/dicom-web", certificate
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_stranger_is_not_trusted_and_a_named_certificate_is(
    secure: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = secure
    with pytest.raises(TroubleError, match="certificate of the PACS is not trusted"):
        Archive(Settings(url=url)).ping()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with pytest.raises(TroubleError, match="certificate of the PACS is not trusted"):
        Archive(Settings(url=url)).ping()
    Archive(Settings(url=url, ca=certificate)).ping()


def test_another_name_than_the_certificates_is_not_trusted(secure: tuple[str, Path]) -> None:
    url, certificate = secure
    with pytest.raises(TroubleError, match="certificate of the PACS is not trusted"):
        Archive(Settings(url=url.replace("localhost", "127.0.0.1"), ca=certificate)).ping()


def test_a_missing_file_of_certificates_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; give certificates"):
        Archive(Settings(url="https://localhost/dicom-web", ca=tmp_path / "none.pem"))
