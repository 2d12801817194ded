"""The door leads to the hosts that were named and to no other, and no answer is without an end."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hilum.errors import ConfigError
from hilum.pacs.archive import Archive
from hilum.pacs.credentials import credentials
from hilum.pacs.door import Door, origin
from hilum.pacs.faults import HopelessError, TooLongError, TroubleError
from hilum.pacs.records import Film, Settings


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://pacs.example:8443/dicom-web", "https://pacs.example:8443"),
        ("https://pacs.example/x", "https://pacs.example"),
        ("http://127.0.0.1:8042/dicom-web", "http://127.0.0.1:8042"),
        ("http://127.8.9.1/", "http://127.8.9.1"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8042/dicom-web", "http://[::1]:8042"),
    ],
)
def test_https_goes_anywhere_and_http_to_this_machine(url: str, allowed: str) -> None:
    assert origin(url, plain_http=False) == allowed


@pytest.mark.parametrize(
    "url",
    [
        "http://pacs.example/dicom-web",
        "http://localhost.example/",
        "http://127.0.0.1.example/",
        "http://128.0.0.1/",
        "ftp://127.0.0.1/",
        "127.0.0.1:8042/dicom-web",
        "https://user:secret@pacs.example/",
        "https://pacs.example/?a=b",
        "https://pacs.example:99999/",
        "",
    ],
)
def test_other_addresses_are_refused_and_never_repeat_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        origin(url, plain_http=False)
    assert "secret" not in str(caught.value)


def test_plain_http_to_another_machine_is_allowed_where_it_is_asked_for() -> None:
    assert origin("http://orthanc:8042/dicom-web", plain_http=True) == "http://orthanc:8042"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x", "https://{host}/x", "http://{host}@127.0.0.1:1/", "http://127.0.0.2:{port}/"],
)
def test_no_request_leaves_for_another_host(server: SimpleNamespace, settings: Settings, url: str) -> None:
    host = server.url.split("/")[2]
    address = url.format(host=host, port=host.split(":")[1])
    with pytest.raises(TroubleError, match="not allowed"):
        Door(settings, limit=99).get(address)
    assert not server.archive.asked


def test_the_environment_names_no_proxy(
    server: SimpleNamespace, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    Archive(settings).ping()
    assert server.archive.asked
    assert server.archive.headers[-1]["Host"] == server.url.split("/")[2]  # with its port


def test_a_compressed_answer_is_not_unfolded(server: SimpleNamespace, settings: Settings) -> None:
    bomb = gzip.compress(b"[]" + b" " * 2**20)
    server.archive.always["ping"] = lambda handler: handler.answer(200, bomb, Content_Encoding="gzip")
    with pytest.raises(TroubleError, match="compresses its answer without"):
        Archive(settings).ping()
    assert server.archive.headers[-1]["Accept-Encoding"] == "identity"


def test_a_redirect_is_not_followed(server: SimpleNamespace, settings: Settings) -> None:
    server.archive.always["search"] = lambda handler: handler.answer(
        307, b"", Location=f"{server.url}/studies"
    )
    with pytest.raises(TroubleError, match="redirects"):
        list(Archive(settings).pages({}))
    assert len(server.archive.asked) == 1


def test_an_answer_is_read_no_further_than_its_limit(server: SimpleNamespace, settings: Settings) -> None:
    sent = []

    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            sent.append(handler.wfile.write(b"x" * 2**16))

    server.archive.always["search"] = endless
    with pytest.raises(TooLongError):
        Door(settings, limit=2**20).get(server.url + "/instances")
    time.sleep(0.1)
    assert sum(sent) < 2**25  # what fits into the buffers between


def test_a_declared_length_over_the_limit_is_not_read_at_all(
    server: SimpleNamespace, settings: Settings
) -> None:
    film = Film(study="1.2", series="1.3", sop="1.4")
    server.archive.always["fetch"] = lambda handler: handler.answer(200, b"", Content_Length=str(10**12))
    with pytest.raises(HopelessError, match="larger than the limit"):
        Archive(settings).fetch(film)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nX: ",
    ],
    ids=["body", "status", "head", "chunk", "trailer"],
)
def test_an_answer_that_drips_has_its_time(server: SimpleNamespace, settings: Settings, begun: bytes) -> None:
    def drip(handler: Any) -> None:
        handler.wfile.write(begun)
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server.archive.always["ping"] = drip
    start = time.monotonic()
    with pytest.raises(TroubleError, match="too slowly"):
        Archive(replace(settings, timeout=0.05)).ping()
    assert time.monotonic() - start < 2


def test_credentials_go_with_every_request_and_come_from_environment_or_file(
    server: SimpleNamespace, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "who"
    file.write_text("# for the archive\nuser = hilum\npassword = a=b:c\n")
    basic = {"Authorization": "Basic aGlsdW06YT1iOmM="}  # hilum:a=b:c
    assert credentials(file, {"HILUM_PACS_TOKEN": "t"}) == basic
    assert credentials(None, {"HILUM_PACS_USER": "hilum", "HILUM_PACS_PASSWORD": "a=b:c"}) == basic
    assert credentials(None, {"HILUM_PACS_TOKEN": "abc"}) == {"Authorization": "Bearer abc"}
    assert credentials(None, {}) == {}
    Archive(replace(settings, headers=basic)).ping()
    assert server.archive.headers[-1]["Authorization"] == basic["Authorization"]


@pytest.mark.parametrize(
    "text",
    [
        "password = secret",
        "token = secret\nuser = x",
        "token = secret\u20ac",
        "secret",
        "user = a:b\npassword = secret",
        "",
        "x = secret",
    ],
)
def test_bad_credentials_are_told_without_quoting_them(tmp_path: Path, text: str) -> None:
    file = tmp_path / "who"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        credentials(file, {})
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        credentials(tmp_path / "missing", {})


def test_no_hostile_identifier_reaches_an_address(settings: Settings, server: SimpleNamespace) -> None:
    film = Film(study="1.2", series="1.3", sop="../../../instances")
    with pytest.raises(HopelessError, match="not valid UIDs"):
        Archive(settings).fetch(film)
    assert not server.archive.asked


def test_a_redirects_body_is_bounded_and_its_address_is_never_read(
    server: SimpleNamespace, settings: Settings
) -> None:
    """requests would read it whole, and unpack it, to see where it leads."""
    bomb = gzip.compress(b" " * 2**26)
    for more, why in (({"Content_Encoding": "gzip"}, "compresses its answer"), ({}, "more than 1000 bytes")):
        server.archive.always["search"] = lambda handler, more=more: handler.answer(
            302, bomb, Location="http://[", **more
        )
        with pytest.raises(TroubleError, match=why):
            Door(settings, limit=1000).get(f"{settings.url}/studies")
