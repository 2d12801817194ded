"""Answers as bytes: JSON, and NumPy's file format for arrays."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from starlette.responses import Response

from hilum.types import Array


class JSON(Response):
    """A document as JSON. NaN is an error; lone surrogates (file names that are not UTF-8) are escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The document's bytes."""
        return encoded(content)


def encoded(document: Any) -> bytes:
    """A document as compact JSON in UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def npy(array: Array) -> bytes:
    """An array as a ``.npy`` file, version 1.0, in C order."""
    buffer = BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def squeezed(content: bytes, accept_encoding: str) -> tuple[bytes, Mapping[str, str]]:
    """The content, gzipped if the client accepts that, and the matching headers."""
    if "gzip" not in accept_encoding.lower():
        return content, {"Vary": "Accept-Encoding"}
    return gzip.compress(content, 1, mtime=0), {"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}
