"""What exists once for the platform in our own tables: the workflows that belong to no project."""

from sqlalchemy import func, select

from automation.catalog import definitions
from automation.database import Database
from automation.models import Workflow

_LOCK = 0x504C_4154  # "PLAT": two deploys at once must not write a workflow twice


async def apply_platform_workflows(database: Database) -> None:
    """Write the platform's own workflows that are missing; existing ones keep what people changed."""
    async with database.transaction() as session:
        await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        query = select(Workflow.kind).where(Workflow.project_id.is_(None))
        existing = set((await session.execute(query)).scalars())
        session.add_all(
            definition.rows(None, "")
            for definition in definitions().values()
            if definition.scope == "platform" and definition.kind not in existing
        )
