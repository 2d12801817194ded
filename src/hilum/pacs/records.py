"""The records that pass through the worker, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STATES = ("queued", "done", "refused", "failed")
"""Waiting or being analysed; results stored; cannot be used by Hilum; given up after all attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One instance in the PACS, by its three UIDs, all well-formed."""

    study: str
    series: str
    sop: str
    refusal: str = ""  # why it is not fetched at all; "" if it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One object made from a film, as it is sent to the PACS."""

    form: str  # one of `hilum.dicom.FORMS`
    study: str
    sop: str
    data: bytes = field(repr=False)  # a whole DICOM file


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a worker; times in seconds, sizes in bytes."""

    url: str  # of the DICOMweb service, without a slash at its end
    forms: tuple[str, ...] = ("seg", "sr", "sc")
    orthanc: str = "auto"  # address of Orthanc's /changes; "auto": detected; "no": QIDO only
    days: int = 3  # oldest study in days; 0: any age
    every: float = 10.0  # between two queries
    attempts: int = 5  # before a film is given up
    patience: float = 2.0  # before the second attempt; doubled for each further one
    longest: float = 600.0  # between two attempts
    timeout: float = 30.0  # longest silence of the PACS
    limit: int = 128 * 2**20  # of one film
    plain_http: bool = False  # whether http to another machine is allowed
    ca: Path | None = None  # certificates to trust instead of certifi's
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds the credentials
