"""What may be printed to a terminal."""

from __future__ import annotations


def shown(text: str) -> str:
    """The text on one line; what would command a terminal, as names of files may hold it, is spelled out."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )
