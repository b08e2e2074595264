"""Rows that tests write, and what they read of them."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from automation.database import Database
from automation.models import Base, Execution, FlowRun, Project, Workflow, WorkflowStep, utc_now
from automation.steps import StepType


async def write(database: Database, *rows: Base) -> None:
    """Insert rows, in their order."""
    async with database.transaction() as session:
        for row in rows:
            session.add(row)
            await session.flush()


async def workflow(
    database: Database, *steps: StepType | WorkflowStep, project_id: str | None = "p1", kind: str = "publish"
) -> UUID:
    """A workflow (and its project) whose steps run one after the other."""
    async with database.transaction() as session:
        if project_id and await session.get(Project, project_id) is None:
            session.add(Project(id=project_id, name=f"Project {project_id}"))
            await session.flush()
        made = Workflow(id=uuid4(), name=f"W {kind}", project_id=project_id, kind=kind, trigger_type="API_CALL")
        made.steps = [
            one if isinstance(one, WorkflowStep) else planned(one, number) for number, one in enumerate(steps, start=1)
        ]
        session.add(made)
    return made.id


def planned(step_type: StepType, order: int, **values: Any) -> WorkflowStep:
    """A step of a workflow, identified by its type's name in small letters."""
    return WorkflowStep(
        **{"identifier": step_type.name.lower(), "step_type": step_type.name, "order": order, "config": {}} | values
    )


async def execution(database: Database, workflow_id: UUID, **values: Any) -> UUID:
    """An execution that waits; `values` overrides its columns."""
    async with database.transaction() as session:
        of = await session.get_one(Workflow, workflow_id)
        defaults = {"project_id": of.project_id, "kind": of.kind, "trigger_type": "API_CALL", "id": uuid4()}
        made = Execution(workflow_id=workflow_id, **defaults | values)
        session.add(made)
    return made.id


async def flow_run(database: Database, **values: Any) -> UUID:
    """A flow run of Prefect's as we know it, running unless `values` says otherwise."""
    defaults: dict[str, Any] = {
        "id": uuid4(), "prefect_id": uuid4(), "kind": "publish", "state": "RUNNING", "claimed_at": utc_now(),
    }  # fmt: skip
    run = FlowRun(**defaults | values)
    await write(database, run)
    return run.id


async def stored(database: Database, id_: UUID) -> Execution:
    """The execution as it is in the table now."""
    async with database.transaction() as session:
        return await session.get_one(Execution, id_)


async def stored_run(database: Database, id_: UUID) -> FlowRun:
    """The flow run's row as it is now, by our id."""
    async with database.transaction() as session:
        return await session.get_one(FlowRun, id_)


async def every(database: Database, model: type[Base]) -> list[Any]:
    """All rows of a table."""
    async with database.transaction() as session:
        return list((await session.scalars(select(model))).all())


async def runs_left(database: Database) -> list[FlowRun]:
    """Flow runs that we have made or begun and that have not ended; the mirror also notes those of other tests."""
    runs = await every(database, FlowRun)
    return [one for one in runs if one.ended_at is None and (one.idempotency_key or one.claimed_at)]
