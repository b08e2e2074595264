"""What a warm worker runs, where, and how it shows in Prefect."""

import asyncio
import os
import re
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import AwaitingRetry

from automation.catalog import definitions
from automation.database import Database
from automation.models import Project, Status, StepExecution, utc_now
from tests.integration import rows
from tests.integration.worker.conftest import (
    Pool,
    Probes,
    Served,
    deploy,
    gone,
    is_alive,
    marked,
    until,
    warm_worker,
)


async def lines_of(pool: Pool, run_id: UUID) -> list[str]:
    """The run's log in Prefect, once its last line is there."""

    async def whole() -> list[str]:
        logs = await pool.prefect.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
        lines = [one.message for one in logs]
        return lines if any(line.startswith("Finished in state") for line in lines) else []

    return await until(whole)  # type: ignore[no-any-return]


async def process_of(pool: Pool, run_id: UUID) -> int:
    """The process that a trivial run ran in, as it logged."""
    [line] = [line for line in await lines_of(pool, run_id) if line.startswith("process")]
    return int(re.sub(r"\D", "", line))


async def test_a_run_completes_in_a_process_that_goes_on_to_live_and_each_log_line_is_in_prefect_once(
    served: Served,
) -> None:
    run_id = await served.pool.start("trivial")

    assert (await served.pool.ended(run_id)).is_completed()

    pid = await process_of(served.pool, run_id)
    assert pid != served.worker.pid
    assert is_alive(pid)
    began = [line for line in await lines_of(served.pool, run_id) if line.startswith("Beginning flow run")]
    assert len(began) == 1


async def test_prefect_watches_no_run_from_a_thread_and_the_flow_knows_its_deployment_all_the_same(
    served: Served,
) -> None:
    run_id = await served.pool.start("trivial")
    await served.pool.ended(run_id)

    lines = await lines_of(served.pool, run_id)
    assert f"deployment {served.pool.deployments['trivial']}" in lines
    [threads] = [line for line in lines if line.startswith("threads")]
    assert "observer_thread" not in threads


async def test_an_edited_page_is_on_disk_when_its_run_is_completed(served: Served, database: Database) -> None:
    await deploy(served.pool, "auto-save", "flows.auto_save.auto_save")
    workflow = definitions()["auto-save"].rows("p1", "Shop")
    workflow.id = uuid4()
    await rows.write(database, Project(id="p1", name="Shop"), workflow)
    page = {"id": "home", "name": "Home", "route": "/", "config": {"components": [], "styles": {}}}
    id_ = await rows.execution(
        database, workflow.id, event_type="page.updated", trigger_data={"project_id": "p1", "page": page}
    )

    run_id = await served.pool.start("auto-save", executions=[str(id_)])

    assert (await served.pool.ended(run_id)).is_completed()
    assert (await rows.stored(database, id_)).status == Status.COMPLETED
    assert (Path(os.environ["AUTOMATION_HOME"]) / "runtime/p1/pages/home.json").exists()


async def test_four_runs_go_side_by_side_and_the_fifth_waits(served: Served, probes: Probes) -> None:
    began = time.monotonic()
    started = [await probes.start(do="sleep", seconds=1) for _ in range(5)]
    states = await asyncio.gather(*(served.pool.ended(run_id) for _, run_id in started))

    assert all(state.is_completed() for state in states)
    assert {(await probes.read(id_)).status for id_, _ in started} == {Status.COMPLETED}
    pids = {row.result["pid"] for row in await rows.every(probes.database, StepExecution)}
    assert len(pids) == 4
    assert 2 < time.monotonic() - began < 8


async def test_a_run_that_is_due_later_begins_when_it_is_due(served: Served) -> None:
    due = utc_now() + timedelta(seconds=1.5)
    run = await served.pool.prefect.create_flow_run_from_deployment(
        served.pool.deployments["trivial"], state=AwaitingRetry(scheduled_time=due)
    )

    assert (await served.pool.ended(run.id)).is_completed()

    started = (await served.pool.read(run.id)).start_time
    assert started is not None
    assert 0 <= started.timestamp() - due.timestamp() < 1


async def test_a_schedule_is_kept(served: Served) -> None:
    await deploy(served.pool, "scheduled", "acme_flows.trivial")
    deployment_id = served.pool.deployments["scheduled"]
    every_second = IntervalSchedule(interval=timedelta(seconds=1))
    [schedule] = await served.pool.prefect.create_deployment_schedules(deployment_id, [(every_second, True)])

    async def twice() -> bool:
        completed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
        runs = await served.pool.prefect.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
            flow_run_filter=FlowRunFilter(state=completed),
        )
        return len(runs) >= 2 and all(run.auto_scheduled for run in runs)

    try:
        await until(twice)
    finally:
        await served.pool.prefect.delete_deployment_schedule(deployment_id, schedule.id)
        await served.pool.prefect.delete_deployment(deployment_id)


@pytest.mark.parametrize(
    ("name", "entrypoint", "options"),
    [
        ("own environment", "acme_flows.trivial", {"job_variables": {"env": {"PREFECT_LOGGING_LEVEL": "INFO"}}}),
        ("own code", "acme_flows.py:trivial", {"path": str(Path(__file__).parent / "site")}),
    ],
)
async def test_a_flow_that_is_not_ours_runs_in_a_process_of_its_own(
    served: Served, name: str, entrypoint: str, options: dict[str, Any]
) -> None:
    await deploy(served.pool, name, entrypoint, **options)

    run_id = await served.pool.start(name)

    assert (await served.pool.ended(run_id)).is_completed()
    pid = await process_of(served.pool, run_id)
    assert (await served.pool.read(run_id)).infrastructure_pid == str(pid)
    await gone(pid)


async def test_sighup_replaces_the_processes_when_their_runs_are_over(
    served: Served, probes: Probes, tmp_path: Path
) -> None:
    _, under_way = await probes.start(do="sleep", seconds=1, mark=str(tmp_path / "mark"))
    [before] = await marked(tmp_path / "mark")

    served.worker.send_signal(signal.SIGHUP)

    assert (await served.pool.ended(under_way)).is_completed()
    run_id = await served.pool.start("trivial")
    assert (await served.pool.ended(run_id)).is_completed()
    assert await process_of(served.pool, run_id) != before
    await gone(before)


async def test_a_process_is_replaced_after_as_many_runs_as_the_setting_says(pool: Pool, tmp_path: Path) -> None:
    limits = {"AUTOMATION_WORKER_CONCURRENCY": "1", "AUTOMATION_WORKER_MAX_RUNS": "2"}
    processes = []
    with warm_worker(pool.name, tmp_path / "worker.log", **limits):
        for _ in range(3):
            run_id = await pool.start("trivial")
            assert (await pool.ended(run_id)).is_completed()
            processes.append(await process_of(pool, run_id))

    assert processes[0] == processes[1] != processes[2]
