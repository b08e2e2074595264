"""Running our flows in this process, as a worker would, against the real Prefect server."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Pending

from flows.cleanup import cleanup
from flows.custom_workflow import custom_workflow
from flows.publish import publish

FLOWS: dict[str, Flow[Any, Any]] = {"publish": publish, "cleanup": cleanup, "custom-workflow": custom_workflow}


async def create(prefect: PrefectClient, kind: str, **parameters: Any) -> FlowRun:
    """A run of a kind's deployment."""
    deployment = await prefect.read_deployment_by_name(f"{kind}/{kind}")
    return await prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)


async def carry(prefect: PrefectClient, *ids: UUID) -> FlowRun:
    """A run that carries these executions."""
    return await create(prefect, "publish", executions=[str(id_) for id_ in ids])


async def run(prefect: PrefectClient, flow_run: FlowRun, kind: str = "publish") -> State[Any]:
    """Run it, also again, and answer the state in which Prefect has it then."""
    await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
    held = await prefect.read_flow_run(flow_run.id)
    with suppress(Pause):  # it waits, and has left
        await run_flow_async(FLOWS[kind], flow_run=held, parameters=held.parameters, return_type="state")
    state = (await prefect.read_flow_run(flow_run.id)).state
    assert state is not None
    return state
