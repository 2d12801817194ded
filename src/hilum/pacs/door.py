"""The one door to the network: only the hosts that are named, no redirects, no answer without an end."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection
from io import BytesIO
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
_WHOLE = 10  # times the timeout for a whole answer, however slowly it drips


def origin(url: str, *, plain_http: bool) -> str:
    """``scheme://host:port`` of an address that may be asked. Raises ConfigError for one that may not."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("the archive's address is none; give http(s)://HOST[:PORT]/PATH") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ConfigError("an address with credentials is seen by everybody; give --credentials FILE")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigError(f"{url}: not an address; give http(s)://HOST[:PORT]/PATH")
    if parts.scheme == "http" and not plain_http and not is_loopback(host):
        raise ConfigError(f"{url}: films would travel in plain text; give https, or --plain-http")
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port else "")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone and without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Door(requests.Session):
    """A session that reaches the settings' hosts alone and returns whole, bounded answers.

    Whatever goes wrong, an answer that redirects or tells an error included, is a TroubleError; an answer of
    more than `limit` bytes a TooLongError. No message quotes an address, which holds UIDs, nor the answer.
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
        self.trust_env = False  # no proxy, no .netrc, no other certificates than those named here
        self.adapters.clear()
        urls = [settings.url] + ([] if settings.orthanc in ("auto", "no") else [settings.orthanc])
        for url in urls:
            self.mount(origin(url, plain_http=settings.plain_http) + "/", HTTPAdapter(max_retries=0))
        # A small compressed answer can unfold to any size: none is asked for, and none is taken.
        self.headers.update({**settings.headers, "Accept-Encoding": "identity"})
        self.headers["User-Agent"] = f"hilum/{__version__}"
        if settings.ca is not None and not settings.ca.is_file():
            raise ConfigError(f"{settings.ca}: no such file; give certificates in PEM form")
        self.verify = str(settings.ca) if settings.ca else True
        self._timeout, self._limit = settings.timeout, limit
        self._accepted = frozenset(accepted)  # statuses whose answer the caller reads himself
        self._over = over  # whether the worker is to end, so that no answer is waited for

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests reads the whole body of a redirect, unpacked, even of one that is not followed."""
        del resp

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request. Raises TroubleError."""
        # dicomweb-client sets it without the port; http.client makes it from the address.
        request.headers.pop("Host", None)
        options.update(allow_redirects=False, stream=True, timeout=self._timeout)
        self._check()
        try:
            with super().send(request, **options) as response:
                body = self._body(response)
        except requests.exceptions.InvalidSchema:
            raise TroubleError("the request would lead to a host that is not allowed") from None
        except requests.exceptions.SSLError:
            raise TroubleError("the archive's certificate is not trusted (--ca)") from None
        except requests.exceptions.RequestException as error:
            raise TroubleError(f"the archive does not answer ({type(error).__name__})") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TroubleError(f"the archive's answer broke off ({type(error).__name__})") from None
        status = response.status_code
        if 300 <= status < 400:
            raise TroubleError(f"the archive redirects (status {status}), which is not followed", status)
        if status >= 400 and status not in self._accepted:
            raise TroubleError(f"the archive answered with status {status}", status)
        response.raw = BytesIO(body)
        return response

    def _body(self, response: requests.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise TroubleError("the archive compresses its answer unasked")
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            raise TooLongError(f"an answer of more than {self._limit} bytes")
        body, end = bytearray(), time.monotonic() + _WHOLE * self._timeout
        # read1 returns what has come, so that a server that sends a byte now and then is noticed.
        while piece := response.raw.read1(_PIECE, decode_content=False):
            body += piece
            if len(body) > self._limit:
                raise TooLongError(f"an answer of more than {self._limit} bytes")
            if time.monotonic() > end:
                raise TroubleError("the archive answers too slowly")
            self._check()
        return bytes(body)

    def _check(self) -> None:
        if self._over():
            raise TroubleError("stopped")
