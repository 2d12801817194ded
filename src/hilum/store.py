"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def publish(draft: Path, folder: Path) -> None:
    """Swap the finished draft in; an older folder of that name is set aside until the new one stands."""
    for path in draft.iterdir():
        with path.open("r+b") as file:
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


def standing(folder: Path) -> Path:
    """The folder; where a `publish` was killed between its two renames, the older one that it set aside."""
    old = folder.with_name(f".{folder.name}-old")
    return old if old.is_dir() and not folder.exists() else folder


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that appears whole or not at all."""
    draft = path.with_name(f".{path.name}-draft")
    draft.unlink(missing_ok=True)
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
