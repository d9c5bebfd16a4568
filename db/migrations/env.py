"""Alembic's entry: runs migrations on the connection that `db.migrate` hands over."""

from alembic import context

from db.models import Base


def run() -> None:
    """Batch mode, because SQLite can alter little in place; a column's type counts as a change."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True,
                      compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


run()
