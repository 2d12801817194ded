"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def publish(draft: Path, folder: Path) -> None:
    """Swap the finished draft in; an older folder of that name is set aside until the new one stands."""
    for path in draft.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)  # safetensors and mkdtemp make what only its owner may open
    draft.chmod(0o755)
    old = folder.with_name(f".{folder.name}-old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
