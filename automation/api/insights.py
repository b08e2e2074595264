"""Figures of the past: how workflows and steps went, what fails, and what processes use."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from automation.api.auth import Reader
from automation.api.bodies import Time
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.errors import RefusedError
from automation.models import utc_now
from automation.monitoring import insights
from automation.monitoring.windows import Window

router = APIRouter(prefix="/insights", tags=["insights"])

_LENGTH = r"^[1-9][0-9]{0,5}[smhd]$"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


Since = Annotated[Time | None, Query(description="Where the window begins; without it `window` says.")]
Until = Annotated[Time | None, Query(description="Where it ends; now unless given.")]
Length = Annotated[
    str,
    Query(
        alias="window", pattern=_LENGTH, description="How long it is without `since`: 90s, 15m, 24h, 7d; 90d at most."
    ),
]


def _window(default: str) -> Any:
    """For a route's parameter: the window that a request asks for, so long unless it says."""

    async def window(since: Since = None, until: Until = None, length: Length = default) -> Window:
        end = until or utc_now()
        try:
            return Window(since or end - _duration(length), end)
        except OverflowError:
            raise RefusedError(f"until: {end} is too early for a window of {length}", "until") from None

    return Depends(window)


def _duration(text: str) -> timedelta:
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


LastDay = Annotated[Window, _window("24h")]
LastHour = Annotated[Window, _window("1h")]


class WorkflowOut(BaseModel):
    """How the executions of one type of workflow went. Times are in ms; those of a percentile within 13 %."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    count: int = Field(description="Executions that ended.")
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None = Field(description="Completed of completed and failed.")
    mean_ms: float | None = Field(description="From the first step's begin to the end, completed or failed.")
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    to_done_p50_ms: float | None = Field(description="From the event's acceptance to the end, completed.")
    to_done_p95_ms: float | None


class BucketOut(BaseModel):
    """What ended in a part of the window that begins at `at`."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    kind: str
    completed: int
    failed: int
    cancelled: int
    p50_ms: float | None
    p95_ms: float | None


class StepOut(BaseModel):
    """How the steps of one type went; each try counts. Times are in ms."""

    model_config = ConfigDict(from_attributes=True)

    step_type: str
    count: int
    failed: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class ErrorOut(BaseModel):
    """Failed tries with one cause. `count` is of the window, `first_seen` and `last_seen` are ever."""

    model_config = ConfigDict(from_attributes=True)

    fingerprint: str
    error_code: str
    step: str
    message: str = Field(description="With `<number>`, `<text>` and the like for what differs.")
    count: int
    first_seen: datetime
    last_seen: datetime
    execution_id: UUID = Field(description="The latest of them; it may be gone since.")


class PointOut(BaseModel):
    """What was used until `at`; null is what does not apply."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    cpu: float | None = Field(description="Of one core; of all cores for a host.")
    memory_bytes: int | None
    memory_share: float | None
    disk_share: float | None
    connections: int | None
    connections_share: float | None


class SeriesOut(BaseModel):
    """A process, a machine, or the database over time."""

    model_config = ConfigDict(from_attributes=True)

    role: str = Field(description="service, worker, child, host or database.")
    host: str
    pid: int | None
    points: list[PointOut]


class WindowOut(BaseModel):
    """The window that the figures are of."""

    since: datetime
    until: datetime


class WorkflowsOut(WindowOut):
    """By type of workflow; `history`, with `bucket`, over time."""

    results: list[WorkflowOut]
    history: list[BucketOut] | None = None


class StepsOut(WindowOut):
    """By type of step."""

    results: list[StepOut]


class ErrorsOut(WindowOut):
    """The most frequent first."""

    results: list[ErrorOut]


class ResourcesOut(WindowOut):
    """By process, at most 300 points each."""

    results: list[SeriesOut]


@router.get("/workflows/", responses=keyed(422))
async def get_workflow_insights(
    caller: Reader,
    services: ServicesOf,
    window: LastDay,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
    bucket: Annotated[str | None, Query(pattern=_LENGTH, description="Length of the parts of `history`.")] = None,
) -> WorkflowsOut:
    """Execution time and success rate by type of workflow. Of a project: of its latest 10,000 executions."""
    project_id = caller.among(project_id)
    async with services.database.reading() as session:
        found = await insights.workflow_insights(session, window, project_id=project_id, kind=kind)
        history = bucket and await insights.workflow_history(
            session, window, _duration(bucket), project_id=project_id, kind=kind
        )
    return WorkflowsOut(
        since=window.since,
        until=window.until,
        results=[WorkflowOut.model_validate(one) for one in found],
        history=[BucketOut.model_validate(one) for one in history or ()] if bucket else None,
    )


@router.get("/steps/", responses=keyed(422))
async def get_step_insights(
    caller: Reader,
    services: ServicesOf,
    window: LastDay,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
) -> StepsOut:
    """Performance by type of step; `kind` is the type of their workflow. Of a project: of its latest 2,000
    executions.
    """
    async with services.database.reading() as session:
        found = await insights.step_insights(session, window, project_id=caller.among(project_id), kind=kind)
    return StepsOut(since=window.since, until=window.until, results=[StepOut.model_validate(one) for one in found])


@router.get("/errors/", responses=keyed(422))
async def get_error_insights(
    caller: Reader,
    services: ServicesOf,
    window: LastDay,
    project_id: ProjectFilter = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ErrorsOut:
    """Frequent errors and their causes: grouped by class, step, and message without its variable parts. Of a project:
    of its latest 2,000 executions in which something failed.
    """
    async with services.database.reading() as session:
        found = await insights.error_insights(session, window, project_id=caller.among(project_id), limit=limit)
    return ErrorsOut(since=window.since, until=window.until, results=[ErrorOut.model_validate(one) for one in found])


@router.get("/resources/", responses=keyed(404, 422))
async def get_resource_insights(caller: Reader, services: ServicesOf, window: LastHour) -> ResourcesOut:
    """CPU, memory, disk and connections of services, workers, their children, their machines and the database; kept
    for 7 days. They are of the whole platform: a key for one project finds nothing here.
    """
    caller.require_project(None, "Resources are of the whole platform; this key is for one project.")
    async with services.database.reading() as session:
        found = await insights.resource_insights(session, window)
    return ResourcesOut(
        since=window.since, until=window.until, results=[SeriesOut.model_validate(one) for one in found]
    )
