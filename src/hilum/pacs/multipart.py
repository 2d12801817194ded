"""multipart/related of DICOMweb (PS3.18 section 8.6.1.2; RFC 2046), read strictly to notice half answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.message import Message

from hilum.pacs.faults import TroubleError

DICOM = 'multipart/related; type="application/dicom"'


def only_part(content_type: str, body: bytes) -> bytes:
    """The only part of an answer. Raises TroubleError if it has several parts or no closing boundary."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise TroubleError("the PACS answered with another kind of content than requested")
    line = b"--" + boundary.encode("ascii", "replace")
    # Searched from the end: a film's pixels may hold anything.
    end = body.rfind(b"\r\n" + line + b"--")
    start = 0 if body.startswith(line) else body.find(b"\r\n" + line)
    if start < 0 or end <= start:
        raise TroubleError("half an answer: a film without the closing boundary")
    head_end = body.find(b"\r\n\r\n", start, end)
    if head_end < 0:
        raise TroubleError("half an answer: a part without content")
    if body.find(b"\r\n" + line, head_end, end) >= 0:
        raise TroubleError("the PACS answered with several films instead of one")
    return body[head_end + 4 : end]


def joined(parts: Sequence[bytes]) -> tuple[str, bytes]:
    """Content type and body of a request with DICOM files; the boundary occurs in none of them."""
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()[:32]
    while any(boundary.encode() in part for part in parts):
        boundary = hashlib.sha256(boundary.encode()).hexdigest()[:32]
    line = f"--{boundary}".encode()
    head = line + b"\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return f"{DICOM}; boundary={boundary}", body
