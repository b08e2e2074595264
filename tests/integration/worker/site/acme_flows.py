"""A package that somebody else installed: a workflow with faults to order, and flows without the engine."""

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prefect import flow, get_run_logger, runtime, task
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import StepDefinition, WorkflowDefinition
from automation.steps import StepConfig, StepContext, step


class ProbeConfig(StepConfig):
    do: Literal["nothing", "sleep", "ignore", "block", "exit", "spawn"] = "nothing"
    seconds: float = 0
    mark: str = ""


def note(mark: str, pid: int) -> bool:
    """Write a pid into the file `mark`, if there is to be one; whether it was there before."""
    if not mark:
        return False
    there = Path(mark).exists()
    with Path(mark).open("a") as file:
        file.write(f"{pid}\n")
    return there


@step("PROBE")
async def probe_step(step: StepContext, config: ProbeConfig) -> dict[str, Any]:
    """Do what the trigger's data orders, but only the first time: then the file `mark` tells that it was done."""
    orders = ProbeConfig.model_validate({**config.model_dump(), **step.trigger_data.get("probe", {})})
    step.log("probing")
    if note(orders.mark, os.getpid()):
        return {"pid": os.getpid(), "again": True}
    match orders.do:
        case "sleep":
            await asyncio.sleep(orders.seconds)
        case "block":
            time.sleep(orders.seconds)  # noqa: ASYNC251 (that is the fault)
        case "exit":
            os._exit(7)
        case "spawn":
            note(orders.mark, subprocess.Popen(["sleep", "600"]).pid)  # noqa: ASYNC220
            await asyncio.sleep(orders.seconds)
        case "ignore":
            end = time.monotonic() + orders.seconds
            while time.monotonic() < end:
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    continue
    return {"pid": os.getpid(), "again": False}


PROBE = WorkflowDefinition(
    kind="probe", name="Probe", description="", trigger_type="API_CALL", steps=(StepDefinition(probe_step),)
)


@flow(name="probe", **engine.FLOW_OPTIONS)
async def probe(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
) -> State[Any]:
    return await engine.run("probe", executions, workflow_id, trigger_data)


@task
async def add(number: int) -> int:
    return number + 1


@flow(name="trivial", **engine.FLOW_OPTIONS)
async def trivial() -> str:
    """Three trivial tasks."""
    get_run_logger().info("process %d", os.getpid())
    get_run_logger().info("deployment %s", runtime.deployment.id)
    get_run_logger().info("threads %s", [one.name for one in threading.enumerate()])
    await add(await add(await add(0)))
    return "done"
