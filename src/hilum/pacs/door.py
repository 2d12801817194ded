"""The only access to the network: named hosts alone, no redirects, bounded answers."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from collections.abc import Callable, Collection
from io import BufferedReader, BytesIO, RawIOBase
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from hilum import __version__
from hilum.errors import ConfigError
from hilum.pacs.faults import TooLongError, TroubleError
from hilum.pacs.records import Settings

_PIECE = 2**16  # bytes read at a time
_WHOLE = 10  # a whole answer may take this many timeouts


def origin(url: str, *, plain_http: bool) -> str:
    """``scheme://host:port`` of an allowed address. Raises ConfigError for others."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("the address of the PACS is not valid; give http(s)://HOST[:PORT]/PATH") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ConfigError(
            "an address must not hold credentials, which other users could see; give --credentials FILE"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError(f"{url}: not a valid address; give http(s)://HOST[:PORT]/PATH")
    if parts.scheme == "http" and not plain_http and not is_loopback(host):
        raise ConfigError(f"{url}: films would travel unencrypted; use https, or give --plain-http")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, judged by its name, without a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Timed(RawIOBase):
    """What a connection receives, until a time: its timeout bounds only the silence between two bytes.

    It is below the parser, which reads a head, the size of a chunk or a trailer without returning in between.
    """

    def __init__(self, received: RawIOBase, end: float) -> None:
        self._received, self._end = received, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._end:
            raise TroubleError("the PACS answers too slowly")
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        end = time.monotonic() + _WHOLE * (sock.gettimeout() or 0)
        self.fp = BufferedReader(_Timed(self.fp.detach(), end))


class _Plain(urllib3.connection.HTTPConnection):
    response_class = _Answer


class _Tls(urllib3.connection.HTTPSConnection):
    response_class = _Answer


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


class Door(requests.Session):
    """A session that reaches only the hosts of the settings and returns whole, bounded answers.

    Every failure raises TroubleError, redirects and error statuses included; an answer of more than `limit`
    bytes raises TooLongError. No message quotes the answer, or an address, which holds UIDs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        limit: int,
        accepted: Collection[int] = (),
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, no .netrc, no certificates except those given here
        self.adapters.clear()
        urls = [settings.url] + ([] if settings.orthanc in ("auto", "no") else [settings.orthanc])
        for url in urls:
            self.mount(origin(url, plain_http=settings.plain_http) + "/", _Adapter(max_retries=0))
        # A small compressed answer can unpack to any size: none is requested or accepted.
        self.headers.update({**settings.headers, "Accept-Encoding": "identity"})
        self.headers["User-Agent"] = f"hilum/{__version__}"
        if settings.ca is not None and not settings.ca.is_file():
            raise ConfigError(f"{settings.ca}: no such file; give certificates in PEM format")
        self.verify = str(settings.ca) if settings.ca else True
        self._timeout, self._limit = settings.timeout, limit
        self._accepted = frozenset(accepted)  # error statuses whose answer the caller reads
        self._over = over  # whether the worker must end, so that no answer is awaited

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: otherwise requests reads and unpacks a redirect's whole body, even without following it."""
        del resp

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request. Raises TroubleError."""
        # dicomweb-client sets it without the port; http.client derives it from the address.
        request.headers.pop("Host", None)
        options.update(allow_redirects=False, stream=True, timeout=self._timeout)
        self._check()
        try:
            with super().send(request, **options) as response:
                body = self._body(response)
        except requests.exceptions.InvalidSchema:
            raise TroubleError("the request leads to a host that is not allowed") from None
        except requests.exceptions.SSLError:
            raise TroubleError("the certificate of the PACS is not trusted (--ca)") from None
        except requests.exceptions.RequestException as error:
            raise TroubleError(f"the PACS does not answer ({type(error).__name__})") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TroubleError(f"the answer of the PACS broke off ({type(error).__name__})") from None
        status = response.status_code
        if 300 <= status < 400:
            raise TroubleError(f"the PACS redirects (status {status}), which is not followed", status)
        if status >= 400 and status not in self._accepted:
            raise TroubleError(f"the PACS answered with status {status}", status)
        response.raw = BytesIO(body)
        return response

    def _body(self, response: requests.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise TroubleError("the PACS compresses its answer without being asked")
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            raise TooLongError(f"an answer of more than {self._limit} bytes")
        body = bytearray()
        # read1 returns what has arrived, so that a server that sends single bytes is noticed.
        while piece := response.raw.read1(_PIECE, decode_content=False):
            body += piece
            if len(body) > self._limit:
                raise TooLongError(f"an answer of more than {self._limit} bytes")
            self._check()
        return bytes(body)

    def _check(self) -> None:
        if self._over():
            raise TroubleError("stopped")
