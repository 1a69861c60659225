"""Run by Alembic; the store passes its own connection, inside its transaction."""

from alembic import context

from evaluation.preference.tables import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables,
    transactional_ddl=False,  # the store's transaction is around everything
)
context.run_migrations()
