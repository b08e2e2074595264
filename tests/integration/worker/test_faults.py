"""Faults that take a process with them, in the processes of a real warm worker: the record explains them, too."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from random import Random, SystemRandom
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client

from automation import catalog, control
from automation.database import Database
from automation.dispatcher import runs
from automation.models import FINAL, Execution, Status, utc_now
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration import faults, rows
from tests.integration.explaining import explain
from tests.integration.service import Service
from tests.integration.test_faults import five_steps
from tests.integration.worker.conftest import Pool, gone, make_pool, until, warm_worker

SEED = int(os.environ.get("AUTOMATION_FAULT_SEED") or SystemRandom().randrange(2**32))
CODES = ("DATABASE_ERROR", "NETWORK_ERROR", "FILE_SYSTEM_ERROR", "UNKNOWN_ERROR", "TIMEOUT_ERROR", "HARD_TIMEOUT")
RETRIES = {code: {"max_retries": 2, "backoff": 0.05} for code in CODES}
SETTINGS = Settings(retry_config=RETRIES)
LIMITS = {
    "AUTOMATION_CANCEL_GRACE": "1",
    "AUTOMATION_STEP_SOFT_TIME_LIMIT": "1",
    "AUTOMATION_STEP_HARD_TIME_LIMIT": "2",
    "AUTOMATION_RETRY_CONFIG": json.dumps(RETRIES),
}

Script = dict[str, list[faults.Fault]]
SCRIPTS: list[Script] = [
    {},
    {"left": ["kill"]},
    {"right": ["kill", "kill", "kill", "kill"]},
    {"extra": ["kill"]},
    {"first": ["block"]},
    {"left": ["deaf"]},
    {"last": ["eat", "late", "kill"]},
    {"last": ["VALIDATION_ERROR"], "undo left": ["kill"]},
    {"last": ["VALIDATION_ERROR"], "undo first": ["block"]},
]


def random_script(random: Random) -> Script:
    """Up to two steps that fail up to twice."""
    kinds: list[faults.Fault] = ["kill", "block", "deaf", "eat", "late", "NETWORK_ERROR", "UNKNOWN_ERROR"]
    steps = random.sample(("first", "left", "right", "extra", "last"), random.randint(1, 2))
    return {step: random.choices(kinds, k=random.randint(1, 2)) for step in steps}


@pytest.fixture(scope="module")
async def faulty_pool(
    postgres: Postgres, prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pool]:
    """Served by a worker of its own, with short limits."""
    folder = tmp_path_factory.mktemp("faults")
    os.environ[faults.FOLDER] = str(folder)
    async with get_client() as client:
        pool = await make_pool(client)
        with warm_worker(pool.name, folder / "worker.log", **LIMITS):
            yield pool
    del os.environ[faults.FOLDER]


class World:
    """Executions of the five-step workflow in single runs, and the service that looks after them."""

    def __init__(self, database: Database, pool: Pool) -> None:
        self.database = database
        self.pool = pool
        self.service = Service(database, pool.prefect, SETTINGS)
        self.of: dict[UUID, Script] = {}

    async def start(self, *scripts: Script) -> list[UUID]:
        of = await rows.workflow(self.database, *five_steps("FAULT"), kind="probe")
        made = {await rows.execution(self.database, of, trigger_data={"faults": one}): one for one in scripts}
        self.of |= made
        for id_ in made:
            await self._carry(id_)
        return list(made)

    async def ended(self) -> list[Execution]:
        """All of them, when they have."""

        async def over() -> list[Execution]:
            await self.look()
            found = await rows.every(self.database, Execution)
            free = [one for one in found if one.flow_run_id is None and one.status == Status.RETRYING]
            for one in free:
                if one.due_at <= utc_now():
                    await self._carry(one.id)
            return found if all(one.status in FINAL for one in found) else []

        return await until(over, 90)  # type: ignore[no-any-return]

    async def look(self) -> None:
        await self.service.mirror.round()
        await runs.tend(self.database, self.pool.prefect)
        await asyncio.sleep(0.1)

    async def _carry(self, id_: UUID) -> None:
        """What the dispatcher does: the run is known before it exists."""
        run_id = await self.pool.start("probe", executions=[str(id_)])
        row = await rows.flow_run(self.database, prefect_id=run_id, kind="probe", state="SCHEDULED", claimed_at=None)
        async with self.database.transaction() as session:
            execution = await session.get_one(Execution, id_, with_for_update=True)
            if execution.flow_run_id is None:
                execution.flow_run_id = row


@pytest.fixture
def world(database: Database, faulty_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> World:
    (faults.folder() / "journal").unlink(missing_ok=True)
    for one in faults.STEPS:
        monkeypatch.setitem(catalog.step_types(), one.name, one)
    return World(database, faulty_pool)


async def test_after_any_fault_of_a_process_the_record_explains_what_happened(world: World) -> None:
    print(f"AUTOMATION_FAULT_SEED={SEED}")
    random = Random(SEED)
    await world.start(*SCRIPTS, *(random_script(random) for _ in range(6)))

    await world.ended()

    await world.service.in_line()
    for id_, script in world.of.items():
        await explain(world.database, id_, script)
    assert await rows.runs_left(world.database) == []


async def test_a_step_past_its_hard_limit_is_recorded_as_such_and_tried_again_by_its_rule(world: World) -> None:
    [id_] = await world.start({"left": ["deaf", "deaf", "deaf"]})

    [ended] = await world.ended()

    assert (ended.status, ended.error_code, ended.failed_step, ended.attempt) == (
        Status.FAILED, "HARD_TIMEOUT", "left", 3,
    )  # fmt: skip
    assert "did not stop at its hard limit" in ended.error_message
    assert await explain(world.database, id_, world.of[id_]) == Status.FAILED


async def test_a_cancelled_step_that_does_not_listen_is_killed_and_the_record_says_when(world: World) -> None:
    [id_] = await world.start({"left": ["deaf"]})
    await until(lambda: _has_begun(id_))
    asked = utc_now()
    async with world.database.transaction() as session:
        await control.cancel(session, id_, SETTINGS)

    [ended] = await world.ended()

    assert (ended.status, ended.completed_at is not None) == (Status.CANCELLED, True)
    assert ended.completed_at is not None
    assert (ended.completed_at - asked).total_seconds() > 1  # its grace
    assert await explain(world.database, id_, world.of[id_]) == Status.CANCELLED
    [pid] = [word.removeprefix("deaf:") for word, key in await asyncio.to_thread(faults.journal) if "deaf" in word]
    await gone(int(pid))


async def _has_begun(id_: UUID) -> bool:
    return ("tried", f"do:{id_}:left") in await asyncio.to_thread(faults.journal)
