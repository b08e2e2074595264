"""Running executions inside a Prefect flow run: what every `@flow` of ours calls."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.engine import claim as claims
from automation.engine import retrying, suspension
from automation.engine.batch import run_batch
from automation.engine.failures import tell_if_failed
from automation.engine.plan import Item
from automation.engine.record import Outcome
from automation.engine.slots import start_slot, trigger_of
from automation.engine.work import Work, process_database
from automation.errors import NotFoundError, RefusedError
from automation.intake import start_workflow, waits
from automation.models import Json, Status, Workflow, WorkflowDeployment, utc_now
from automation.settings import get_settings

# Prefect's own flow retries happen inside the process and would hold it; ours are durable (AwaitingRetry).
# Nothing is persisted, but without a storage Prefect asks its server for one in every run, which blocks for 80 ms.
FLOW_OPTIONS: dict[str, Any] = {
    "retries": 0,
    "persist_result": False,
    "result_storage": PREFECT_LOCAL_STORAGE_PATH.value(),
    "validate_parameters": True,
}

_BLOCKED_WAIT = 5.0
"""Seconds that a run waits in its process for what has to end first, before it leaves the worker."""

_WORST_FIRST = (Status.FAILED, Status.CANCELLED, Status.COMPLETED)

_running: dict[UUID, Work] = {}


async def run(
    kind: str,
    executions: Sequence[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: Json | None = None,
    batch: str | None = None,
) -> State[Any]:
    """Run executions inside the current flow run.

    Args:
        kind: the flow's own kind, for a start without arguments: the platform's workflow of that kind.
        executions: those that a dispatcher or trigger hands over.
        workflow_id, trigger_data: instead of them, a workflow to make an execution of (cron, UI, CLI). A run that a
            trigger's schedule made is of that trigger's slot, whatever its parameters.
        batch: instead of them, the kind whose waiting executions this run is to drain: the flow's own.

    Returns:
        The state for Prefect: Completed, Failed, Cancelled, or AwaitingRetry when the run goes on later.

    Raises:
        RefusedError: more than one of the three is given, or one that belongs to another flow.
    """
    if sum(one is not None for one in (executions, workflow_id, batch)) > 1:
        raise RefusedError("Give one of executions, workflow_id and batch, not several.")
    if batch not in (None, kind):
        raise RefusedError(f"Flow {kind!r} drains executions of its own kind, not of {batch!r}.", "batch")
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RefusedError("The engine runs inside a Prefect flow run only.")
    flow_run = context.flow_run
    work = _running[flow_run.id] = Work(get_settings(), process_database())
    mode = "single" if batch is None else "batch"
    identity = claims.RunIdentity(flow_run.id, flow_run.idempotency_key, kind, flow_run.name, mode)
    try:
        if batch is not None:
            return await run_batch(work, identity, batch)
        if executions is None:
            started = await _start(work, flow_run, kind, workflow_id, trigger_data or {})
            if isinstance(started, str):
                return Completed(message=started)
            executions = [started]
        return await _run_single(work, flow_run, identity, executions)
    finally:
        del _running[flow_run.id]


def cancel(prefect_id: UUID, reason: str) -> bool:
    """Stop the steps of a flow run of this process; it rolls up and answers Cancelled. False: not here."""
    work = _running.get(prefect_id)
    if work is None:
        return False
    work.stop(reason)
    return True


def finish(prefect_id: UUID) -> None:
    """Have a batch run of this process end after the batch that it is at; any other run ends by itself."""
    if work := _running.get(prefect_id):
        work.finish()


async def _run_single(
    work: Work, flow_run: PrefectRun, identity: claims.RunIdentity, executions: Sequence[UUID]
) -> State[Any]:
    left_in = suspension.left_in(await suspension.past_of(flow_run))
    if left_in and left_in.is_final():
        await _retry_from_prefect(work, executions)
    given = await suspension.answer_of(flow_run, left_in)
    claim = await _claim(work, identity, executions, given)
    if not claim.items:
        return await _leave(work, claim)
    await _name_in_prefect(flow_run, claim.items)
    async with work.heartbeat(claim.flow_run_id):
        outcomes = await work.do(claim.items)
    for item, outcome in outcomes:
        tell_if_failed(item, outcome)
    if any(outcome.status == Status.WAITING for _, outcome in outcomes):
        await suspension.suspend(work, [item for item, outcome in outcomes if outcome.status == Status.WAITING])
    return _state(outcomes)


async def _retry_from_prefect(work: Work, executions: Sequence[UUID]) -> None:
    """Prefect's own Retry button: the run begins again after it had ended, and so do its executions that failed."""

    async def write(session: AsyncSession) -> None:
        await retrying.retry_all(session, executions, asked_by="prefect-ui", reason="retried in Prefect")

    await work.record(write)


async def _start(
    work: Work, flow_run: PrefectRun, kind: str, workflow_id: UUID | None, trigger_data: Json
) -> UUID | str:
    """The execution of a run that cron, the UI or the CLI started; the same one if the run comes again.

    Of a cron slot that does not run, the reason.
    """

    async def write(session: AsyncSession) -> UUID | str:
        if (trigger_id := trigger_of(flow_run)) and flow_run.expected_start_time:
            return await start_slot(session, trigger_id, flow_run.expected_start_time, work.settings)
        target = workflow_id or await _own_workflow(session, flow_run) or await _platform_workflow(session, kind)
        started = await start_workflow(
            session,
            target,
            work.settings,
            trigger_type="SCHEDULED" if flow_run.auto_scheduled else "API_CALL",
            trigger_data=trigger_data,
            execution_id=uuid5(flow_run.id, "execution"),
        )
        if started.kind != kind:  # nothing is written: the transaction ends here
            raise RefusedError(
                f"Workflow {target} is of kind {started.kind!r}; start flow {started.kind!r}.", "workflow_id"
            )
        return started.id

    return await work.record(write)


async def _claim(
    work: Work, identity: claims.RunIdentity, executions: Sequence[UUID], given: waits.Answer | None
) -> claims.Claim:
    """Claim, waiting a moment for what has to end first."""

    async def write(session: AsyncSession) -> claims.Claim:
        return await claims.claim(session, identity, executions, work.settings, given)

    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BLOCKED_WAIT
    while True:
        claim = await work.record(write)
        if claim.items or not claim.blocked or loop.time() > deadline:
            return claim
        await asyncio.sleep(0.2)


async def _leave(work: Work, claim: claims.Claim) -> State[Any]:
    """Nothing to run: either all is taken or done, or it has to wait, which needs no worker."""

    async def write(session: AsyncSession) -> None:
        await claims.put_down(session, claim.flow_run_id)

    await work.record(write)
    if claim.blocked:
        return AwaitingRetry(
            scheduled_time=utc_now() + timedelta(seconds=_BLOCKED_WAIT),
            message="Waits for saves of the project, or for another execution of the same key, to end.",
        )
    if claim.unknown:
        return Failed(message=f"No such execution: {', '.join(sorted(map(str, claim.unknown)))}.")
    if Status.FAILED in claim.ended:
        return Failed(message="Its execution has failed; retry that one (`…/executions/{id}/retry/`), not its run.")
    if Status.CANCELLED in claim.ended:
        return Cancelled(message="Its execution was cancelled before this run began.")
    return Completed(message="Nothing to do: another run has taken these executions, or they have ended.")


def _state(outcomes: Sequence[tuple[Item, Outcome]]) -> State[Any]:
    """Prefect's state for a run whose executions ended like this; of several the worst counts."""
    if retries := [one for _, one in outcomes if one.due_at]:
        first = min(retries, key=lambda one: one.due_at or utc_now())
        return AwaitingRetry(scheduled_time=first.due_at, message=first.error_message)
    outcome = min((one for _, one in outcomes), key=lambda one: _WORST_FIRST.index(one.status))
    if outcome.status == Status.CANCELLED:
        return Cancelled(message=outcome.error_message)
    if outcome.status == Status.FAILED:
        return Failed(message=outcome.error_message)
    return Completed(message=f"{len(outcomes)} executed")


async def _name_in_prefect(flow_run: PrefectRun, items: Sequence[Item]) -> None:
    """A run that Prefect started gets the name and tags by which people look for it."""
    tags = [tag for item in items for tag in run_tags(item.project.id, item.workflow_id, item.execution_id)]
    if set(tags) <= set(flow_run.tags):
        return
    try:
        async with get_client() as client:
            await client.update_flow_run(flow_run.id, name=items[0].workflow_name, tags={*flow_run.tags, *tags})
    except Exception as error:
        get_run_logger().warning("The flow run could not be named: %s", error)


def run_tags(project_id: str | None, workflow_id: UUID, execution_id: UUID) -> list[str]:
    """The tags of a flow run that carries an execution."""
    project = [f"project:{project_id}"] if project_id else []
    return [*project, f"workflow:{workflow_id}", f"execution:{execution_id}"]


async def _own_workflow(session: AsyncSession, flow_run: PrefectRun) -> UUID | None:
    """The workflow that the run's deployment belongs to, for a start of it by hand."""
    query = select(WorkflowDeployment.workflow_id).where(WorkflowDeployment.deployment_id == flow_run.deployment_id)
    return (await session.execute(query)).scalar_one_or_none()


async def _platform_workflow(session: AsyncSession, kind: str) -> UUID:
    definition = definitions().get(kind)
    query = select(Workflow.id).where(Workflow.kind == kind, Workflow.project_id.is_(None))
    found = None
    if definition and definition.scope == "platform":
        found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"Flow {kind!r} has no workflow of the platform; give it `workflow_id` or `executions`.")
    return found
