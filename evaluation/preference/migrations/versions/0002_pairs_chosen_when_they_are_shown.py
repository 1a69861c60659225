"""Probability with which a pair was chosen, where pairs are chosen when they are shown."""

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Pairs that were planned have none."""
    op.add_column("trials", sql.Column("propensity", sql.Float))


def downgrade() -> None:
    """Every pair a planned one."""
    op.drop_column("trials", "propensity")
