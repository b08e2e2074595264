"""A warm worker as people start it, in a pool of its own, and the flows that it finds installed beside it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling

from automation.database import Database
from automation.mirror import Mirror
from automation.models import Execution, WorkflowStep
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration import rows

SITE = Path(__file__).parent / "site"
PATIENCE = 30.0


async def until(what: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> Any:
    """The first true answer of `what`."""
    deadline = time.monotonic() + patience
    while not (answer := await what()):
        assert time.monotonic() < deadline, f"still {answer!r} after {patience:g} s"
        await asyncio.sleep(0.03)
    return answer


@contextmanager
def warm_worker(pool: str, log: Path, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`prefect worker start --pool …`; killed at the end if it has not ended."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", f"w-{pool}"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(SITE)} | env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        sys.stdout.write(log.read_text())


@dataclass
class Pool:
    """A work pool with a deployment of each test flow."""

    name: str
    prefect: PrefectClient
    deployments: dict[str, UUID] = field(default_factory=dict)

    async def start(self, flow: str, **parameters: Any) -> UUID:
        run = await self.prefect.create_flow_run_from_deployment(self.deployments[flow], parameters=parameters)
        return run.id

    async def read(self, run_id: UUID) -> FlowRun:
        return await self.prefect.read_flow_run(run_id)

    async def ended(self, run_id: UUID, patience: float = PATIENCE) -> State[Any]:
        """The run's final state, once it has one."""

        async def final() -> State[Any] | None:
            state = (await self.read(run_id)).state
            return state if state and state.is_final() else None

        return await until(final, patience)  # type: ignore[no-any-return]

    async def running(self, run_id: UUID) -> None:
        async def runs() -> bool:
            state = (await self.read(run_id)).state
            return state is not None and state.is_running()

        await until(runs)

    async def cancel(self, run_id: UUID) -> None:
        """As Prefect's Cancel button does."""
        await self.prefect.set_flow_run_state(run_id, Cancelling())


async def make_pool(prefect: PrefectClient) -> Pool:
    pool = Pool(f"warm-{uuid4().hex[:8]}", prefect)
    await prefect.create_work_pool(WorkPoolCreate(name=pool.name, type="warm"))
    for name, path in (("probe", "acme_flows.probe"), ("trivial", "acme_flows.trivial")):
        await deploy(pool, name, path)
    return pool


async def deploy(pool: Pool, name: str, entrypoint: str, **options: Any) -> None:
    flow_id = await pool.prefect.create_flow_from_name(name)
    pool.deployments[name] = await pool.prefect.create_deployment(
        flow_id, f"{name}-{pool.name}", entrypoint=entrypoint, work_pool_name=pool.name, **options
    )


@pytest.fixture
async def pool(prefect: PrefectClient) -> Pool:
    return await make_pool(prefect)


@dataclass
class Probes:
    """Executions of the workflow whose step does what it is told."""

    database: Database
    pool: Pool

    async def start(self, **orders: Any) -> tuple[UUID, UUID]:
        """An execution with a flow run that carries it: (execution id, flow run id)."""
        step = WorkflowStep(identifier="probe", step_type="PROBE", order=1, config={})
        workflow_id = await rows.workflow(self.database, step, kind="probe")
        id_ = await rows.execution(self.database, workflow_id, trigger_data={"probe": orders})
        return id_, await self.pool.start("probe", executions=[str(id_)])

    async def read(self, execution_id: UUID) -> Execution:
        return await rows.stored(self.database, execution_id)

    async def mirrored(self, settings: Settings) -> None:
        """The service has looked at everything once."""
        await Mirror(self.database, self.pool.prefect, settings).round()


def pids(mark: Path) -> list[int]:
    """The processes that a step says it ran in, or started."""
    return [int(line) for line in mark.read_text().split()] if mark.exists() else []


async def marked(mark: Path, lines: int = 1) -> list[int]:
    """Those pids, once there are so many."""

    async def enough() -> list[int]:
        return found if len(found := pids(mark)) >= lines else []

    return await until(enough)  # type: ignore[no-any-return]


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int, patience: float = 5) -> None:
    async def is_gone() -> bool:
        return not is_alive(pid)

    await until(is_gone, patience)


@dataclass
class Served:
    """A pool and the process of the worker that serves it."""

    pool: Pool
    worker: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
async def served(
    postgres: Postgres, prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One worker for the tests that leave it as it was, with short limits."""
    async with get_client() as client:
        pool = await make_pool(client)
        log = tmp_path_factory.mktemp("worker") / "worker.log"
        limits = {"AUTOMATION_CANCEL_GRACE": "1", "AUTOMATION_STEP_HARD_TIME_LIMIT": "4"}
        with warm_worker(pool.name, log, **limits) as process:
            yield Served(pool, process)


@pytest.fixture
def probes(database: Database, served: Served) -> Probes:
    return Probes(database, served.pool)
