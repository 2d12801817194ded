"""A folder of DICOM studies: the frontal films with facts from their headers; no labels.

Patients and studies are named by a hash of PatientID and StudyInstanceUID, so that split files hold neither.
The hash does not protect against someone who tries all numbers. It does not depend on the folder: the films
of one patient in two folders belong to one patient.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from hilum.data.sources.header import Header, headers
from hilum.errors import DataError
from hilum.gate import RADIOGRAPHS
from hilum.reading.files import film_paths
from hilum.types import Listing, Sample


def listing(path: str) -> Listing:
    """Every AP or PA radiograph at any depth of the folder; other files are skipped and counted by reason.

    Without a PatientID in its header, a film counts as its own patient.
    """
    folder = Path(path)
    files = film_paths(folder)
    site = folder.resolve().name
    samples = []
    passed_over: Counter[str] = Counter()
    for file, header in zip(files, headers(files), strict=True):
        if header is None:
            passed_over["no DICOM file"] += 1
        elif reason := _reason(header):
            passed_over[reason] += 1
        else:
            name = file.relative_to(folder).as_posix()
            samples.append(
                Sample(
                    id=f"{site}:{name}",
                    patient=_pseudonym(header.patient) or f"{site}:{name}",
                    image=file,
                    study=_pseudonym(header.study) or None,
                    site=site,
                    sex=header.sex,
                    age=header.age,
                    view=header.view,
                )
            )
    if not samples and passed_over:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in passed_over.most_common(3))
        raise DataError(f"{folder}: no frontal film among {len(files)} files ({reasons}); check the path")
    return Listing(samples=tuple(samples), passed_over=passed_over)


def _reason(header: Header) -> str | None:
    """Why a file is no frontal radiograph."""
    if header.modality not in RADIOGRAPHS:
        return f"modality {header.modality}"
    if 0 in header.size:
        return "no pixels"
    if header.frames > 1:
        return "several frames"
    return None if header.view else f"view {header.stated_view or 'unknown'}"


def _pseudonym(name: str) -> str:
    return f"dicom:{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}" if name else ""
