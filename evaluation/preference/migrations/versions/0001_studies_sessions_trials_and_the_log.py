"""Studies, sessions, trials, stimuli, and the log that can only grow."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

REFUSE_SQLITE = """
CREATE TRIGGER entries_refuse_{what} BEFORE {what} ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
"""

REFUSE_POSTGRESQL = """
CREATE FUNCTION entries_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'entries are append-only'; END $$
"""

TRIGGER_POSTGRESQL = """
CREATE TRIGGER entries_refuse_{what} BEFORE {what} ON entries
FOR EACH STATEMENT EXECUTE FUNCTION entries_refuse()
"""


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "studies",
        sql.Column("id", sql.Text, nullable=False),
        sql.Column("plan", sql.Text, nullable=False),
        sql.Column("status", sql.Text, nullable=False),
        sql.Column("secret", sql.Text, nullable=False),
        sql.Column("created_at", sql.Float, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_studies"),
    )
    op.create_table(
        "sessions",
        sql.Column("id", sql.Text, nullable=False),
        sql.Column("study", sql.Text, nullable=False),
        sql.Column("slot", sql.Integer, nullable=False),
        sql.Column("token_hash", sql.Text),
        sql.Column("axes", sql.Text, nullable=False),
        sql.Column("break_before", sql.Integer),
        sql.Column("progress", sql.Text, nullable=False),
        sql.Column("joined_at", sql.Float),
        sql.PrimaryKeyConstraint("id", name="pk_sessions"),
        sql.ForeignKeyConstraint(["study"], ["studies.id"], name="fk_sessions_study"),
        sql.UniqueConstraint("study", "slot", name="uq_sessions_study"),
        sql.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
    )
    op.create_table(
        "trials",
        sql.Column("id", sql.Text, nullable=False),
        sql.Column("session", sql.Text, nullable=False),
        sql.Column("position", sql.Integer, nullable=False),
        sql.Column("kind", sql.Text, nullable=False),
        sql.Column("prompt", sql.Text, nullable=False),
        sql.Column("left", sql.Text, nullable=False),
        sql.Column("right", sql.Text, nullable=False),
        sql.Column("late_side", sql.Text),
        sql.Column("repeats", sql.Integer),
        sql.Column("shown_at", sql.Float),
        sql.Column("played", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_trials"),
        sql.ForeignKeyConstraint(["session"], ["sessions.id"], name="fk_trials_session"),
        sql.UniqueConstraint("session", "position", name="uq_trials_session"),
    )
    op.create_table(
        "stimuli",
        sql.Column("study", sql.Text, nullable=False),
        sql.Column("name", sql.Text, nullable=False),
        sql.Column("first", sql.Text, nullable=False),
        sql.Column("second", sql.Text, nullable=False),
        sql.Column("duration_s", sql.Float, nullable=False),
        sql.Column("covariates", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("study", "name", name="pk_stimuli"),
        sql.ForeignKeyConstraint(["study"], ["studies.id"], name="fk_stimuli_study"),
    )
    op.create_table(
        "entries",
        sql.Column("study", sql.Text, nullable=False),
        sql.Column("number", sql.Integer, nullable=False, autoincrement=False),
        sql.Column("kind", sql.Text, nullable=False),
        sql.Column("trial", sql.Text),
        sql.Column("revision", sql.Integer),
        sql.Column("request_key", sql.Text),
        sql.Column("content", sql.Text, nullable=False),
        sql.Column("at", sql.Float, nullable=False),
        sql.Column("previous_hash", sql.Text, nullable=False),
        sql.Column("hash", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("study", "number", name="pk_entries"),
        sql.ForeignKeyConstraint(["study"], ["studies.id"], name="fk_entries_study"),
        sql.ForeignKeyConstraint(["trial"], ["trials.id"], name="fk_entries_trial"),
        sql.UniqueConstraint("trial", "revision", name="uq_entries_trial"),
        sql.UniqueConstraint("study", "previous_hash", name="uq_entries_study"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(REFUSE_POSTGRESQL)
        for what in ("UPDATE", "DELETE", "TRUNCATE"):
            op.execute(TRIGGER_POSTGRESQL.format(what=what))
    else:
        for what in ("UPDATE", "DELETE"):
            op.execute(REFUSE_SQLITE.format(what=what))
