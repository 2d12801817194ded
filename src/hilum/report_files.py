"""The files written for each input: JSON, HTML page, pictures, DICOM objects, each whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import cv2

from hilum import dicom
from hilum.errors import ConfigError, HilumError
from hilum.reporting.overlay import overlay
from hilum.reporting.report import error_json, to_json
from hilum.reporting.report_page import html
from hilum.types import Array, Report

_DRAFT = re.compile(r"\.[0-9a-f]{32}\.tmp")
_ABANDONED = 3600  # seconds

FORMS = ("csv", "json", "mask", "png", "html", *dicom.FORMS)

_ENDINGS = {
    "json": ".json",
    "html": ".html",
    "png": ".overlay.png",
    "mask": ".mask.png",
    **{form: f".{form}.dcm" for form in dicom.FORMS},
}


def save(report: Report, path: Path) -> Path:
    """Write the report in the form the path's ending names: .json, .html, .png (the overlay), or .seg.dcm and
    the like for one of hilum.dicom.FORMS.

    Creates missing folders. The file appears whole or not at all. Raises ConfigError for another ending, if
    `hilum.dicom.obstacle` finds one, and if the file cannot be written.
    """
    match path.suffix.lower():
        case ".json":
            content = _encoded(to_json(report))
        case ".html":
            content = html(report).encode("utf-8", "backslashreplace")
        case ".png":
            content = _png(cv2.cvtColor(overlay(report), cv2.COLOR_RGB2BGR))
        case ".dcm" if path.stem.lower().rpartition(".")[2] in dicom.FORMS:
            content = dicom.dicom_bytes(report, path.stem.lower().rpartition(".")[2])
        case ending:
            known = ", ".join([".json", ".html", ".png", *(f".{form}.dcm" for form in dicom.FORMS)])
            raise ConfigError(f"{path}: no form of a report ends in {ending!r}; use one of {known}")
    return _store(path, content)


def write(name: str, result: Report | HilumError, out: Path, forms: Collection[str]) -> None:
    """Write one input's files beside ``out/name``, and create missing folders. An error gets only the JSON.

    `forms` are some of FORMS: json, html, mask (the anatomy's values 0..3 at source size), png (mask and
    overlay); csv is the table of all inputs, which the caller writes. DICOM objects that cannot be made of
    the film are skipped. A file that an earlier result of that name left, and that this result does not give,
    is deleted. Raises ConfigError if `name` leads out of `out`, for an unknown form, and if a file cannot be
    written.
    """
    inside = PurePath(name)
    if inside.anchor or ".." in inside.parts or not inside.parts:
        raise ConfigError(f"{name!r}: leads out of {out}; give a name below it")
    if unknown := set(forms).difference(FORMS):
        raise ConfigError(f"unknown form {', '.join(sorted(unknown))}; choose from {', '.join(FORMS)}")
    target = out / inside
    wanted = {*forms, "mask"} if "png" in forms else set(forms)  # the picture comes with its mask
    given = _given(result, wanted)
    for form, ending in _ENDINGS.items():
        if form in given:
            _write(name, result, form, _with(target, ending))
        elif form in wanted:
            _forget(_with(target, ending))


def _forget(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises if the name is too long
            why = f"{path}: cannot be replaced: {error.strerror}; choose another folder"
            raise ConfigError(why) from error


def _given(result: Report | HilumError, wanted: set[str]) -> set[str]:
    """The wanted forms that can be made of the result."""
    if isinstance(result, HilumError):
        return wanted & {"json"}
    without = {form for form in dicom.FORMS if form in wanted and dicom.obstacle(result, form)}
    return wanted - without - ({"mask"} if result.anatomy is None else set())


def _write(name: str, result: Report | HilumError, form: str, path: Path) -> None:
    if isinstance(result, HilumError):
        _store(path, _encoded(error_json(name, result)))
    elif form == "mask" and result.anatomy is not None:
        _store(path, _png(result.anatomy.mask))
    else:
        save(result, path)


def sweep(out: Path) -> None:
    """Delete drafts that killed runs left in `out` and below; those under an hour old may still be in use."""
    for draft in out.rglob(".*.tmp"):
        with suppress(FileNotFoundError):  # another process may have finished it in the meantime
            if _DRAFT.fullmatch(draft.name) and time.time() - draft.stat().st_mtime > _ABANDONED:
                draft.unlink(missing_ok=True)


def _encoded(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is not UTF-8 holds lone surrogates; as \\udcXX they are valid JSON and survive.
    return text.encode("utf-8", "backslashreplace")


def _png(image: Array) -> bytes:
    png: bytes = cv2.imencode(".png", image)[1].tobytes()  # OpenCV's default is its fastest
    return png


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _store(path: Path, content: bytes) -> Path:
    """Write beside the path, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        long = error.errno == errno.ENAMETOOLONG
        remedy = "rename the film" if long else "make room, or choose another folder"
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; {remedy}") from error
    return path
