"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def films() -> Path:
    """The folder of real films for development; without it a test skips, or fails where they are required."""
    folder = Path(os.environ.get("HILUM_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "nih14").is_dir():
        why = f"no real films in {folder}; export HILUM_DATA=FOLDER"
        if os.environ.get("HILUM_REQUIRE_FILMS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return folder
