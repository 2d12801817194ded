"""Views such as AP, PA and lateral, in the words of headers and tables."""

from __future__ import annotations

import re

LATERAL = frozenset({"LL", "RL", "LLD", "RLD", "LATERAL", "LAT"})
OBLIQUE = frozenset({"LLO", "RLO", "LPO", "RPO", "LAO", "RAO", "OBLIQUE"})

VIEWS = frozenset({"AP", "PA", "SUPINE"}) | LATERAL | OBLIQUE
"""Views that results may name; any other word might be a patient's name."""

FRONTAL = {"AP": "AP", "PA": "PA", "ANTERO-POSTERIOR": "AP", "POSTERO-ANTERIOR": "PA"}
"""Words of headers and tables for the frontal views."""

_SIDED = {"LLAT": "LATERAL", "RLAT": "LATERAL"}


def view_words(said: str) -> frozenset[str]:
    """The words of VIEWS within a text, in upper case."""
    return frozenset(_SIDED.get(word, word) for word in re.split(r"[^A-Z]+", said.upper())) & VIEWS


def view_in(said: str) -> str:
    """The one view that a text such as AP ERECT states; "" for none or several.

    Decubitus films, of a patient who lies on the side, are called lateral too, but most are frontal.
    """
    if (view := FRONTAL.get(said.upper(), said.upper())) in VIEWS:
        return view
    words = view_words(said) - {"SUPINE"}
    return min(words) if len(words) == 1 and "DECUB" not in said.upper() else ""
