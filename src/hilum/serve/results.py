"""The results in the database: add, find, list, delete."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sql

from hilum.serve.faults import ServiceError, missing
from hilum.serve.tables import RESULTS, SCORES

_COLUMNS = {"received": "received", "patient": "patient_name", "date": "study_date", "file": "file"}
_SEARCHED = ("file", "patient_id", "patient_name", "accession", "description", "study_date")
_LOOKED_AT = 2000  # films with one patient id: some ids stand for very many patients
_PRIORS = 100  # most earlier films in an answer, the newest

Document = dict[str, Any]


def insert(connection: sql.Connection, document: Document) -> None:
    """Add a result document within the caller's transaction."""
    patient, study = document["patient"] or {}, document["study"] or {}
    connection.execute(
        RESULTS.insert().values(
            id=document["id"],
            received=document["received"],
            file=document["file"],
            status=document["status"],
            patient_id=patient.get("id", ""),
            patient_name=patient.get("name", ""),
            study_date=study.get("date", ""),
            accession=study.get("accession", ""),
            description=study.get("description", ""),
            document=json.dumps(document, allow_nan=False),
        )
    )
    scores = [
        {"result": document["id"], "label": label, "probability": score["probability"]}
        for label, score in (document["prediction"] or {}).items()
    ]
    if scores:
        connection.execute(SCORES.insert(), scores)


class Results:
    """The table of results."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine

    def add(self, document: Document) -> None:
        """Add a result document."""
        with self._engine.begin() as connection:
            insert(connection, document)

    def get(self, result: str) -> Document:
        """The document of a result. Raises ServiceError if there is none."""
        with self._engine.connect() as connection:
            found = connection.scalar(sql.select(RESULTS.c.document).where(RESULTS.c.id == result))
        if found is None:
            raise missing()
        document: Document = json.loads(found)
        return document

    def exists(self, result: str) -> bool:
        """Whether there is such a result."""
        with self._engine.connect() as connection:
            return connection.scalar(sql.select(RESULTS.c.id).where(RESULTS.c.id == result)) is not None

    def ids(self) -> set[str]:
        """The ids of all results."""
        with self._engine.connect() as connection:
            return set(connection.scalars(sql.select(RESULTS.c.id)))

    def delete(self, result: str) -> None:
        """Delete a result, if it is there."""
        with self._engine.begin() as connection:
            connection.execute(RESULTS.delete().where(RESULTS.c.id == result))

    def listed(
        self,
        *,
        search: str,
        status: str,
        sort: str,
        labels: Sequence[str],
        descending: bool,
        offset: int,
        limit: int,
    ) -> tuple[int, list[Document]]:
        """The number of matches and the summaries of one page. Raises ServiceError if `sort` is unknown."""
        wanted = [RESULTS.c.status == status] if status else []
        wanted += [
            sql.or_(*(RESULTS.c[name].icontains(word, autoescape=True) for name in _SEARCHED))
            for word in search.split()
        ]
        source, key = _order(sort, labels)
        order = key.desc() if descending else key.asc()
        query = (
            sql.select(RESULTS.c.document)
            .select_from(source)
            .where(*wanted)
            .order_by(order.nulls_last(), RESULTS.c.received.desc(), RESULTS.c.id)
            .offset(offset)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            total = connection.scalar(sql.select(sql.func.count()).select_from(RESULTS).where(*wanted))
            found = connection.scalars(query).all()
        return total or 0, [summary(json.loads(document)) for document in found]

    def prior(self, result: str) -> list[Document]:
        """Summaries of the same patient's earlier films, newest first, without this film."""
        own = self.get(result)
        patient = own["patient"] or {}
        if not patient.get("id"):
            return []
        query = (
            sql.select(RESULTS.c.document)
            .where(RESULTS.c.patient_id == patient["id"], RESULTS.c.id != result)
            .where(sql.or_(RESULTS.c.study_date <= _taken(own)[0], RESULTS.c.study_date == ""))
            .order_by(RESULTS.c.study_date.desc(), RESULTS.c.received.desc())
            .limit(_LOOKED_AT)
        )

        def is_prior(other: Document) -> bool:
            # Ids are unique within one hospital only; another birth date means another patient.
            same = _agree(other["patient"]["birth_date"], patient["birth_date"])
            again = other["input"]["sha256"] == own["input"]["sha256"]
            return same and not again and _taken(other) < _taken(own)

        with self._engine.connect() as connection:
            others = map(json.loads, connection.scalars(query))
            earlier = list(islice(filter(is_prior, others), _PRIORS))
        return [summary(one) for one in sorted(earlier, key=_taken, reverse=True)]


def summary(document: Document) -> Document:
    """What the worklist shows of a result."""
    prediction: Mapping[str, Any] = document["prediction"] or {}
    return {
        "id": document["id"],
        "file": document["file"],
        "status": document["status"],
        "received": document["received"],
        "patient": document["patient"],
        "study": document["study"],
        "view": document["input"]["view"],
        "probabilities": {label: score["probability"] for label, score in prediction.items()},
        "positive": [label for label, score in prediction.items() if score["positive"]],
        "abstained": [label for label, score in prediction.items() if score["abstained"]],
        "cardiothoracic_ratio": (document["measurements"] or {}).get("cardiothoracic_ratio"),
        "reasons": [reason["code"] for reason in document["reasons"]],
    }


def _order(sort: str, labels: Sequence[str]) -> tuple[sql.FromClause, sql.ColumnElement[Any]]:
    """The tables to select from, and the column to sort by."""
    if sort in _COLUMNS:
        return RESULTS, RESULTS.c[_COLUMNS[sort]]
    if sort not in labels:
        raise ServiceError(422, "sort", "unknown sort key", f"sort by {', '.join([*_COLUMNS, *labels])}")
    scored = sql.and_(SCORES.c.result == RESULTS.c.id, SCORES.c.label == sort)
    return RESULTS.outerjoin(SCORES, scored), SCORES.c.probability


def _agree(one: str, other: str) -> bool:
    return not one or not other or one == other


def _taken(document: Document) -> tuple[str, str, str]:
    """When the film was taken by its header, else when it was received."""
    study = document["study"] or {}
    date = study.get("date") or document["received"][:10]
    return date, study.get("time", ""), document["received"]
