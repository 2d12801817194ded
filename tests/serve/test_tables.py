"""The database becomes what this version needs, and says so where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from hilum.errors import ConfigError
from hilum.serve.tables import METADATA, RESULTS, connect


def test_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    engine = connect("", tmp_path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert (tmp_path / "results.db").stat().st_mode & 0o077 == 0
    engine.dispose()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    row = dict.fromkeys(RESULTS.c.keys(), "x")
    first = connect("", tmp_path)
    with first.begin() as connection:
        connection.execute(RESULTS.insert().values(**row))
    first.dispose()
    again = connect("", tmp_path)
    with again.connect() as connection:
        assert dict(connection.execute(sql.select(RESULTS)).one()._mapping) == row
    again.dispose()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    engine = connect("", tmp_path)
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match="newer Hilum"):
        connect("", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "oracle://u:geheim@h/d",
        "postgresql://u:geheim@127.0.0.1:1/d",
        "sqlite:////no/such/folder/x.db",
    ],
)
def test_a_database_that_cannot_be_opened_is_an_error_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="--database") as caught:
        connect(url, tmp_path)
    assert "geheim" not in str(caught.value)
