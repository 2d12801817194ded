"""Results in parts: a Parquet file for each portion of the films, joined into one table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.bulk.batch import Outcome, digest
from hilum.errors import DataError
from hilum.extras import needs
from hilum.reporting.report import columns
from hilum.store import whole, write_whole

if TYPE_CHECKING:
    import pyarrow

_TEXTS = ("file", "status", "abstained", "notes")
_MORE = ("reasons", "flags", "format", "message")


def part_name(number: int, mark: str) -> str:
    """The name of a portion's part: its number, and a hash of the inputs that `mark` describes."""
    return f"part-{number:06d}-{digest(mark)[:16]}.parquet"


def renumber(parts: Iterable[Path]) -> None:
    """Rename existing parts with the same inputs to their new numbers."""
    for part in parts:
        same = part.name.rpartition("-")[2]
        for twin in () if part.exists() else part.parent.glob(f"part-*-{same}"):
            twin.replace(part)


def write_part(path: Path, outcomes: Iterable[Outcome], labels: Sequence[str]) -> None:
    """A portion's outcomes as a Parquet file that appears whole or not at all.

    Its columns are those of predictions.csv, with numbers, booleans, and null for an empty cell, and also
    reasons, flags, format and message. The same outcomes give the same bytes.
    """
    import pyarrow
    import pyarrow.parquet

    rows = [_typed(one, labels) for one in outcomes]
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, _schema(labels)), buffer, compression="zstd")
    write_whole(path, buffer.getvalue())


def read_part(path: Path, labels: Sequence[str]) -> Iterator[Outcome]:
    """The outcomes of a part as they were written; raises DataError if it is damaged."""
    needs("Parquet files", "ray", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read().cast(_schema(labels))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: damaged ({type(error).__name__}); remove it and run again") from None
    for one in table.to_pylist():
        yield Outcome(
            cells={name: _cell(one[name]) for name in columns(labels)},
            reasons=tuple(one["reasons"]),
            flags=tuple(one["flags"]),
            format=one["format"],
            message=one["message"],
        )


def joined(
    parts: Iterable[Path], table: Path | None, labels: Sequence[str], told: Callable[[Outcome], None]
) -> None:
    """Write all parts' rows in order as the csv `table`, whole or not at all; `told` gets each outcome."""
    with Path(os.devnull).open("wb") if table is None else whole(table) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.DictWriter(text, columns(labels))
        writer.writeheader()
        for part in parts:
            for one in read_part(part, labels):
                writer.writerow(one.cells)
                told(one)
        text.detach()


def _schema(labels: Sequence[str]) -> pyarrow.Schema:
    import pyarrow

    def kind(name: str) -> pyarrow.DataType:
        if name in _TEXTS:
            return pyarrow.string()
        called = name.removesuffix(" positive")
        return pyarrow.bool_() if called != name and called in labels else pyarrow.float64()

    fields = [pyarrow.field(name, kind(name)) for name in columns(labels)]
    kinds = (pyarrow.list_(pyarrow.string()),) * 2 + (pyarrow.string(),) * 2
    return pyarrow.schema([*fields, *map(pyarrow.field, _MORE, kinds)])


def _typed(one: Outcome, labels: Sequence[str]) -> dict[str, Any]:
    calls = {f"{label} positive" for label in labels}
    cells: dict[str, Any] = {}
    for name, cell in one.cells.items():
        if name in _TEXTS:
            cells[name] = cell
        elif not cell:
            cells[name] = None
        else:
            cells[name] = cell == "1" if name in calls else float(cell)
    message = one.message.encode("utf-8", "backslashreplace").decode()  # a name may not be UTF-8
    return cells | {"reasons": one.reasons, "flags": one.flags, "format": one.format, "message": message}


def _cell(value: Any) -> str:
    """The text of the cell that became a value: six significant digits survive the conversion to a double."""
    if value is None or isinstance(value, str):
        return value or ""
    return str(int(value)) if isinstance(value, bool) else f"{value:.6g}"
