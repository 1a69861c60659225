"""Tables of the votes' database, as the last migration leaves them."""

import sqlalchemy as sql

tables = sql.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

studies = sql.Table(
    "studies",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("plan", sql.Text, nullable=False),
    sql.Column("status", sql.Text, nullable=False),
    sql.Column("secret", sql.Text, nullable=False),
    sql.Column("created_at", sql.Float, nullable=False),
)

sessions = sql.Table(
    "sessions",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), nullable=False),
    sql.Column("slot", sql.Integer, nullable=False),
    sql.Column("token_hash", sql.Text, unique=True),
    sql.Column("axes", sql.Text, nullable=False),
    sql.Column("break_before", sql.Integer),
    sql.Column("progress", sql.Text, nullable=False),
    sql.Column("joined_at", sql.Float),
    sql.UniqueConstraint("study", "slot"),
)
"""`token_hash` is set once somebody took the session; the token itself is nowhere."""

trials = sql.Table(
    "trials",
    tables,
    sql.Column("id", sql.Text, primary_key=True),
    sql.Column("session", sql.Text, sql.ForeignKey("sessions.id"), nullable=False),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("prompt", sql.Text, nullable=False),
    sql.Column("left", sql.Text, nullable=False),
    sql.Column("right", sql.Text, nullable=False),
    sql.Column("late_side", sql.Text),
    sql.Column("repeats", sql.Integer),
    sql.Column("shown_at", sql.Float),
    sql.Column("played", sql.Text, nullable=False),
    sql.Column("propensity", sql.Float),
    sql.UniqueConstraint("session", "position"),
)
"""`propensity` is set where the pair was chosen when it was shown, with `left` and `right`."""

stimuli = sql.Table(
    "stimuli",
    tables,
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), primary_key=True),
    sql.Column("name", sql.Text, primary_key=True),
    sql.Column("first", sql.Text, nullable=False),
    sql.Column("second", sql.Text, nullable=False),
    sql.Column("duration_s", sql.Float, nullable=False),
    sql.Column("covariates", sql.Text, nullable=False),
)
"""Pairs of files; `name` is `pair_name` of what they show."""

entries = sql.Table(
    "entries",
    tables,
    sql.Column("study", sql.Text, sql.ForeignKey("studies.id"), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("trial", sql.Text, sql.ForeignKey("trials.id")),
    sql.Column("revision", sql.Integer),
    sql.Column("request_key", sql.Text),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("at", sql.Float, nullable=False),
    sql.Column("previous_hash", sql.Text, nullable=False),
    sql.Column("hash", sql.Text, nullable=False),
    sql.UniqueConstraint("trial", "revision"),
    sql.UniqueConstraint("study", "previous_hash"),
)
"""The log. One vote per trial and revision, whatever the requests."""
