"""The records that flow through the worker, and the settings that it runs by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STATES = ("queued", "done", "refused", "failed")
"""Waiting or being analysed; results stored; of no use to Hilum; given up after so many attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One instance in the archive, by its three UIDs, all of them well-formed."""

    study: str
    series: str
    sop: str
    refusal: str = ""  # why it need not even be fetched; "" where it may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One object made from a film, as it goes to the archive."""

    form: str  # one of `hilum.dicom.FORMS`
    study: str
    sop: str
    data: bytes = field(repr=False)  # a whole DICOM file


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the worker is told; seconds and bytes."""

    url: str  # of the DICOMweb service, without a slash at its end
    forms: tuple[str, ...] = ("seg", "sr", "sc")
    orthanc: str = "auto"  # Orthanc's own address for /changes; "auto": derived and asked; "no": QIDO alone
    days: int = 3  # how old a study may be; 0: as old as it likes
    every: float = 10.0  # between two looks at the archive
    attempts: int = 5  # before a film is given up
    patience: float = 2.0  # before the second attempt; doubled with each further one
    longest: float = 600.0  # between two attempts
    timeout: float = 30.0  # that the archive may be silent
    limit: int = 128 * 2**20  # of one film
    plain_http: bool = False  # whether http may leave this machine
    ca: Path | None = None  # certificates to trust in place of the system's
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds the credentials
