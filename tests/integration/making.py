"""Step types that are known for the length of a test (the fixture `make` registers them), and their bodies."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import select

from automation.database import Database
from automation.models import StepExecution
from automation.steps import Result, StepConfig, StepContext, StepType, Waiting

MakeStep = Callable[..., StepType]
Body = Callable[[StepContext], Awaitable[Result | Waiting]]

ran: list[str] = []
"""Which of them ran, in their order; a rollback as `NAME undone`."""


class AnyConfig(StepConfig):
    """What the steps of these tests can be told."""

    word: str = "hello"


def failing(error: Exception, times: int = 1000) -> Body:
    """A body that fails so often."""
    left = times

    async def body(step: StepContext) -> Result:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return {}

    return body


def undo(name: str, error: Exception | None = None) -> Callable[[StepContext, Any], Awaitable[Result]]:
    """The rollback of a step type: it notes that it ran, and fails if it is to."""

    async def rollback(step: StepContext, config: AnyConfig) -> Result:
        ran.append(f"{name} undone")
        if error:
            raise error
        return {"was": step.results[step.identifier]}

    return rollback


async def steps(database: Database, id_: UUID) -> dict[str, StepExecution]:
    """What is recorded of an execution's steps."""
    query = select(StepExecution).where(StepExecution.execution_id == id_)
    async with database.transaction() as session:
        return {one.identifier: one for one in (await session.scalars(query)).all()}
