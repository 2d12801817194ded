"""A part is taken only where it is whole and alone."""

from __future__ import annotations

import pytest

from hilum.pacs.faults import TroubleError
from hilum.pacs.multipart import joined, only_part

KIND = 'multipart/related; type="application/dicom"; boundary="a b"'
FILM = b"\x00" * 128 + b"DICM\r\n--other\r\n\r\n--" + bytes(range(256))


def body(*films: bytes, before: bytes = b"") -> bytes:
    return before + b"".join(b"--a b\r\nX: y\r\n\r\n" + film + b"\r\n" for film in films) + b"--a b--\r\n"


@pytest.mark.parametrize("before", [b"", b"\r\n", b"words to be ignored\r\n"])
def test_the_part_comes_out_to_the_byte(before: bytes) -> None:
    assert only_part(KIND, body(FILM, before=before)) == FILM


def test_what_is_joined_is_parted_again() -> None:
    kind, content = joined([FILM])
    assert only_part(kind, content) == FILM
    kind, content = joined([FILM, FILM])
    with pytest.raises(TroubleError, match="several"):
        only_part(kind, content)


@pytest.mark.parametrize("length", [0, 3, 20, 100, len(body(FILM)) - 6])
def test_half_an_answer_is_noticed_wherever_it_breaks_off(length: int) -> None:
    with pytest.raises(TroubleError, match="half an answer"):
        only_part(KIND, body(FILM)[:length])


@pytest.mark.parametrize(
    "kind", ["", "text/html", "application/dicom", "multipart/related", 'multipart/mixed; boundary="a b"']
)
def test_another_kind_of_content_is_refused(kind: str) -> None:
    with pytest.raises(TroubleError, match="another kind"):
        only_part(kind, body(FILM))


def test_an_answer_of_no_part_is_half_an_answer() -> None:
    with pytest.raises(TroubleError):
        only_part(KIND, body())
