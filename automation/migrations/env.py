"""Alembic's entry; the connection comes from `automation.migrate`, one transaction for all steps."""

from alembic import context

from automation.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
