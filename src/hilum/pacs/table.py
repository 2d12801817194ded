"""The worker's state as a table for people."""

from __future__ import annotations

from datetime import UTC, datetime

from hilum.pacs.events import key
from hilum.pacs.place import Place

_ROWS = 200


def table(place: Place) -> str:
    """The number of films in each state, then one line for each film that has a problem.

    Tab-separated columns: the film's key in the log, state, attempts, when it was settled or is due, the
    reason, and the SOP Instance UID, by which the PACS finds the film.
    """
    lines = [f"{state}\t{count}" for state, count in place.counts().items()]
    lines[1] += f"\t{place.rejected()} of them rejected"
    troubled = place.troubled(_ROWS)
    if troubled:
        lines += ["", "\t".join(("film", "state", "attempts", "when", "reason", "SOP Instance UID"))]
    for row in troubled:
        when = datetime.fromtimestamp(row.settled or row.due, UTC).isoformat(timespec="seconds")
        lines.append("\t".join((key(row.sop), row.state, str(row.attempts), when, row.reason, row.sop)))
    if len(troubled) == _ROWS:
        lines.append(f"only the newest {_ROWS} are shown")
    return "\n".join(lines)
