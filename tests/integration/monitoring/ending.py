"""Executions that end as the engine ends them: updated in the transaction that knows how."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update

from automation.database import Database
from automation.models import Execution, Status, StepExecution, utc_now
from automation.models.recovery_queries import dead_letter
from tests.integration import rows


async def ended(
    database: Database,
    workflow_id: UUID,
    status: Status = Status.COMPLETED,
    *,
    seconds: float = 1.0,
    at: datetime | None = None,
    waited: float = 0.5,
    steps: dict[str, tuple[Status, float]] | None = None,
    **values: Any,
) -> UUID:
    """An execution that began `waited` seconds after its event and ended `seconds` later, at `at`.

    Args:
        steps: by step type: status and milliseconds.
        values: columns of its end, such as `error_code`.
    """
    end = at or utc_now()
    begin = end - timedelta(seconds=seconds)
    id_ = await rows.execution(
        database,
        workflow_id,
        status=Status.RUNNING,
        started_at=begin,
        created_at=begin - timedelta(seconds=waited),
        attempt=1,
    )
    for order, (step_type, (step_status, ms)) in enumerate((steps or {}).items()):
        step = StepExecution(
            execution_id=id_, identifier=step_type.lower(), step_type=step_type, order=order, status=step_status,
            duration_ms=ms,
        )  # fmt: skip
        await rows.write(database, step)
    await end_it(database, id_, status, end, **values)
    return id_


async def end_it(database: Database, id_: UUID, status: Status, at: datetime, **values: Any) -> None:
    """The end of an execution; a failed one is a dead letter."""
    async with database.transaction() as session:
        columns = {"status": status, "completed_at": at} | values
        await session.execute(update(Execution).where(Execution.id == id_).values(**columns))
        if status == Status.FAILED:
            await dead_letter(session, [id_])
