"""The same step for each of several items, each with a record of its own (`identifier[3]`) that a retry respects."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from sqlalchemy import select, update

from automation.catalog import step_type
from automation.engine import context as contexts
from automation.engine.checkpoints import keep_tries
from automation.errors import CancelledError, StepError, UnknownError, ValidationError
from automation.models import Json, Status, StepExecution, utc_now
from automation.models.bulk import insert_rows
from automation.steps import Result, StepContext, StepItem, StepType
from automation.templates import has_templates, render

_RECORD_EVERY = 0.5
"""Seconds of work that may be lost with its process: an item is recorded as soon as that."""

_UPSERT = "ON CONFLICT (execution_id, identifier) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}"
    for name in (
        "status", "started_at", "completed_at", "duration_ms", "result", "error_message", "error_code", "attempt",
    )
)  # fmt: skip


async def run(step: StepContext, items: Sequence[Any], type_name: str, config: Json, parallel: int) -> Result:
    """Run a step type once for each item that has not been done, at most `parallel` at once.

    Raises:
        ValidationError: the step type cannot be run for items.
        StepError: what an item failed with, of several the one that allows the fewest retries.
    """
    kind = step_type(type_name)
    repeatable(kind)
    return await _Each(step, kind, items, config).run(parallel)


def repeatable(kind: StepType) -> None:
    """Refuse a step type that cannot be run for each of several items.

    Raises:
        ValidationError: it may have to wait, or is FOR_EACH itself.
    """
    if kind.waits or kind.name == "FOR_EACH":
        raise ValidationError(f"FOR_EACH: {kind.name} cannot be run for each of several items.")


class _Each:
    """The items of one step at work."""

    def __init__(self, step: StepContext, kind: StepType, items: Sequence[Any], config: Json) -> None:
        self.step = step
        self.kind = kind
        self.items = items
        self.config = config
        self.results: dict[int, Result] = {}
        self.failed: dict[int, StepError] = {}
        self._unrecorded: list[tuple[int, StepItem]] = []
        self._recorded_at = monotonic()
        self._recording = asyncio.Lock()

    async def run(self, parallel: int) -> Result:
        await self._restore()
        left = iter([number for number in range(len(self.items)) if number not in self.results])
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(parallel):
                    group.create_task(self._lane(left))
        finally:
            await asyncio.shield(self._record())
        if self.failed:
            number, error = min(self.failed.items(), key=lambda pair: (pair[1].policy.max_retries, pair[0]))
            many = f" ({len(self.failed)} of {len(self.items)} items failed)" if len(self.failed) > 1 else ""
            raise _again(error, f"FOR_EACH: item {number}: {error}{many}")
        return {"count": len(self.items), "results": [self.results[number] for number in range(len(self.items))]}

    def _name(self, number: int) -> str:
        return f"{self.step.identifier}[{number}]"

    async def _restore(self) -> None:
        """What earlier tries have done; other tries of the rest are kept aside, once, however often it is begun."""
        prefix = f"{self.step.identifier}["
        mine = (StepExecution.execution_id == self.step.execution_id, StepExecution.identifier.startswith(prefix))
        query = select(StepExecution.identifier, StepExecution.status, StepExecution.result).where(*mine)
        async with self.step.database.transaction() as session:
            rows = (await session.execute(query)).tuples().all()
            tried = [name for name, status, _ in rows if status != Status.COMPLETED]
            if tried:
                await keep_tries(session, [(self.step.execution_id, name) for name in tried])
                again = update(StepExecution).where(*mine, StepExecution.identifier.in_(tried))
                await session.execute(again.values(status=Status.PENDING))
        for name, status, result in rows:
            number = int(name.removeprefix(prefix).removesuffix("]"))
            if status == Status.COMPLETED and number < len(self.items):
                self.results[number] = result

    async def _lane(self, left: Any) -> None:
        for number in left:
            work = StepItem(self._context(number), self._config(number), self.step.settings.step_soft_time_limit)
            await work.run(self.kind)
            if work.error is None:
                self.results[number] = work.result or {}
            else:
                self.failed[number] = work.error
            self.step.lines.extend(work.context.lines)
            self._unrecorded.append((number, work))
            over = len(self.results) + len(self.failed)
            await self.step.progress(over / len(self.items), f"{over} of {len(self.items)} items")
            if monotonic() - self._recorded_at > _RECORD_EVERY:
                await self._record()

    def _config(self, number: int) -> Any:
        if not has_templates(self.config):
            return self.config
        own = {"item": self.items[number], "index": number}

        def rendered() -> Json:
            made: Json = render(self.config, contexts.of_step(self.step) | own)
            return made

        return rendered

    def _context(self, number: int) -> StepContext:
        return self.step.for_item(self._name(number))

    async def _record(self) -> None:
        async with self._recording:
            ended, self._unrecorded = self._unrecorded, []
            self._recorded_at = monotonic()
            rows = [self._row(number, work) for number, work in ended]
            async with self.step.database.transaction() as session:
                await insert_rows(session, StepExecution.table(), rows, _UPSERT)
                for _, work in ended:
                    session.add_all(work.context.rows if work.error is None else ())

    def _row(self, number: int, work: StepItem) -> Json:
        error = work.error
        status = Status.COMPLETED if error is None else Status.FAILED
        return {
            "execution_id": self.step.execution_id,
            "project_id": self.step.project.id or None,
            "identifier": self._name(number),
            "step_type": self.kind.name,
            "order": self.step.order,
            "status": Status.CANCELLED if isinstance(error, CancelledError) else status,
            "started_at": work.started_at,
            "completed_at": utc_now(),
            "duration_ms": round(work.duration_ms, 3),
            "result": work.result or {},
            "error_message": str(error or ""),
            "error_code": error.code if error else "",
            "attempt": self.step.attempt,
            "progress_message": "",
        }


def _again(error: StepError, text: str) -> StepError:
    """An error of the same class with another text, which keeps what a neighbour asked for."""
    made = type(error)(text) if type(error).code != UnknownError.code else UnknownError(text)
    made.retry_after = error.retry_after
    return made
