"""Create the tables for results and scores, jobs and their films."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "results",
        sql.Column("id", sql.String(32), primary_key=True),
        sql.Column("received", sql.String(32), nullable=False),
        sql.Column("file", sql.Text, nullable=False),
        sql.Column("status", sql.String(16), nullable=False),
        sql.Column("patient_id", sql.Text, nullable=False),
        sql.Column("patient_name", sql.Text, nullable=False),
        sql.Column("study_date", sql.Text, nullable=False),
        sql.Column("accession", sql.Text, nullable=False),
        sql.Column("description", sql.Text, nullable=False),
        sql.Column("document", sql.Text, nullable=False),
    )
    op.create_index("ix_results_received", "results", ["received"])
    op.create_index("ix_results_patient_id", "results", ["patient_id"])
    op.create_table(
        "scores",
        sql.Column(
            "result", sql.String(32), sql.ForeignKey("results.id", ondelete="CASCADE"), primary_key=True
        ),
        sql.Column("label", sql.String(64), primary_key=True),
        sql.Column("probability", sql.Float, nullable=False),
    )
    op.create_index("scores_by_label", "scores", ["label", "probability"])
    op.create_table(
        "jobs",
        sql.Column("id", sql.String(32), primary_key=True),
        sql.Column("received", sql.String(32), nullable=False),
        sql.Column("status", sql.String(16), nullable=False),
    )
    op.create_index("ix_jobs_status", "jobs", ["status"])
    op.create_table(
        "job_films",
        sql.Column("job", sql.String(32), sql.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sql.Column("position", sql.Integer, primary_key=True),
        sql.Column("result", sql.String(32), nullable=False, unique=True),
        sql.Column("file", sql.Text, nullable=False),
        sql.Column("status", sql.String(16), nullable=False),
        sql.Column("error", sql.Text, nullable=False),
        sql.Column("attempts", sql.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("job_films", "jobs", "scores", "results"):
        op.drop_table(name)
