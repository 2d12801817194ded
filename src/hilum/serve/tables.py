"""The database: its tables and their migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import event

from hilum.errors import ConfigError

METADATA = sql.MetaData()

RESULTS = sql.Table(
    "results",
    METADATA,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("received", sql.String(32), nullable=False, index=True),  # UTC, ISO 8601
    sql.Column("file", sql.Text, nullable=False),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("patient_id", sql.Text, nullable=False, index=True),
    sql.Column("patient_name", sql.Text, nullable=False),
    sql.Column("study_date", sql.Text, nullable=False),
    sql.Column("accession", sql.Text, nullable=False),
    sql.Column("description", sql.Text, nullable=False),
    sql.Column("document", sql.Text, nullable=False),  # the whole result as JSON
)

SCORES = sql.Table(
    "scores",
    METADATA,
    sql.Column("result", sql.String(32), sql.ForeignKey("results.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("label", sql.String(64), primary_key=True),
    sql.Column("probability", sql.Float, nullable=False),
    sql.Index("scores_by_label", "label", "probability"),
)

JOBS = sql.Table(
    "jobs",
    METADATA,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("received", sql.String(32), nullable=False),
    sql.Column("status", sql.String(16), nullable=False, index=True),  # queued, running, done, cancelled
)

JOB_FILMS = sql.Table(
    "job_films",
    METADATA,
    sql.Column("job", sql.String(32), sql.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("position", sql.Integer, primary_key=True),
    sql.Column("result", sql.String(32), nullable=False, unique=True),  # assigned before the result exists
    sql.Column("file", sql.Text, nullable=False),
    sql.Column("status", sql.String(16), nullable=False),  # queued, ok, rejected, error, cancelled
    sql.Column("error", sql.Text, nullable=False),  # error document as JSON, or empty
    sql.Column("attempts", sql.Integer, nullable=False),
)

_MIGRATIONS = Path(__file__).parent / "migrations"


def connect(url: str, folder: Path) -> sql.Engine:
    """Open a database and migrate its tables; an empty URL means an SQLite file in `folder`.

    Raises ConfigError if it cannot be reached or was written by a newer version.
    """
    try:
        engine = _opened(url, folder)
        _migrate(engine)
    except (sql.exc.DBAPIError, sql.exc.ArgumentError, ImportError) as error:
        # The message may quote the URL with its password.
        raise ConfigError(
            f"the database cannot be opened ({type(error).__name__}); check --database and its server"
        ) from None
    return engine


_PATIENCE = 60  # longest wait for the database, in seconds


def _opened(url: str, folder: Path) -> sql.Engine:
    if not url:
        file = folder / "results.db"
        file.touch(mode=0o600)
        url = f"sqlite:///{file}"
    parsed = sql.make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+pg8000")
    # Parameters hold patients' names, which SQLAlchemy's errors would quote.
    if parsed.get_backend_name() != "sqlite":
        # Without it, a host that vanished would be waited for until TCP gives up, for hours.
        bound = {"timeout": _PATIENCE} if parsed.drivername.endswith("+pg8000") else {}
        return sql.create_engine(
            parsed, hide_parameters=True, pool_pre_ping=True, pool_timeout=10, connect_args=bound
        )
    engine = sql.create_engine(parsed, hide_parameters=True, connect_args={"timeout": 30})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # A commit then survives a crash of the process without waiting for the disk.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("lower", 1, str.lower, deterministic=True)  # SQLite's knows ASCII letters only


def _migrate(engine: sql.Engine) -> None:
    """Run the migrations that the database lacks."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    script = ScriptDirectory(str(_MIGRATIONS))

    def upgrades(revision: Any, _: object) -> Any:
        return script._upgrade_revs("head", revision)

    context = EnvironmentContext(Config(), script, fn=upgrades)
    try:
        with engine.begin() as connection, context:
            context.configure(connection=connection, target_metadata=METADATA)
            context.run_migrations()
    except CommandError:
        raise ConfigError("the database was written by a newer Hilum; update this one") from None
