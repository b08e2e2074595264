"""Whatever goes wrong, what is recorded explains what happened: random scripts of faults, many executions at once.

    AUTOMATION_FAULT_SCRIPTS=5000 AUTOMATION_FAULT_SEED=1 pytest tests/integration/test_faults.py

Flow runs are carried in this process: a batch run, and runs with several executions. What needs a process of its own
to go wrong stands in tests/integration/worker/test_faults.py.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from random import SystemRandom
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Pending
from sqlalchemy import select, text

from automation import catalog
from automation.database import Database
from automation.dispatcher import runs
from automation.engine import entry
from automation.models import FINAL, Base, Execution, FlowRun, Status, Workflow, WorkflowStep
from automation.settings import Settings
from flows.auto_save import auto_save
from flows.publish import publish
from tests.integration import faults, rows
from tests.integration.drawing import beside_prefect
from tests.integration.explaining import explain
from tests.integration.flows import create
from tests.integration.service import Service

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.timeout(3600)]

TOGETHER = 70
"""Scripts of one example: half begin in a batch run, half in a run of several executions."""
SCRIPTS = int(os.environ.get("AUTOMATION_FAULT_SCRIPTS", "200"))
SEED = int(os.environ.get("AUTOMATION_FAULT_SEED") or SystemRandom().randrange(2**32))

ERRORS = ("DATABASE_ERROR", "NETWORK_ERROR", "FILE_SYSTEM_ERROR", "UNKNOWN_ERROR")
RETRIES = {code: {"max_retries": 2, "backoff": 0.01, "factor": 2, "jitter": 0.5} for code in (*ERRORS, "TIMEOUT_ERROR")}
SETTINGS = Settings(batch_linger=0.1, lease_seconds=0.3, retry_config=RETRIES, step_soft_time_limit=5)

Script = dict[str, list[faults.Fault]]


def _tries(*more: faults.Fault) -> st.SearchStrategy[list[faults.Fault]]:
    errors = st.sampled_from(ERRORS)
    return st.lists(st.one_of(errors, errors, st.sampled_from(more)), min_size=1, max_size=3)


STEPS = ("first", "left", "right", "extra", "last")
_USUAL: dict[str, st.SearchStrategy[list[faults.Fault]]] = {
    name: _tries("late", "VALIDATION_ERROR", "hang") for name in STEPS
}
_UNDOING = {f"undo {name}": st.just(["UNKNOWN_ERROR"]) for name in ("first", "left")}
SCRIPT = st.one_of(
    st.just({}),
    st.fixed_dictionaries({}, optional=_USUAL),
    st.fixed_dictionaries({"last": st.just(["VALIDATION_ERROR"])}, optional=_UNDOING),
    st.fixed_dictionaries({"right": st.sampled_from([["cancel"], ["NETWORK_ERROR", "cancel"]])}, optional={}),
    st.fixed_dictionaries({"last": st.sampled_from([["wait"], ["late", "wait"]])}, optional={}),
)
DYING = st.sampled_from(
    [
        {"left": ["die"]},
        {"last": ["NETWORK_ERROR", "die"]},
        {"right": ["die"] * 4},
        {"last": ["VALIDATION_ERROR"], "undo left": ["die"]},
    ]
)
POPULATION = st.tuples(
    st.lists(SCRIPT, min_size=TOGETHER - 3, max_size=TOGETHER - 3), st.lists(DYING, min_size=3, max_size=3)
)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for one in faults.STEPS:
        monkeypatch.setitem(catalog.step_types(), one.name, one)
    monkeypatch.setattr(entry, "get_settings", lambda: SETTINGS)
    monkeypatch.setenv(faults.FOLDER, str(tmp_path))
    yield
    faults.dead.clear()


def five_steps(last: str) -> list[WorkflowStep]:
    """first → (left, right, extra) → last; `extra` is not required, and a step that hangs is stopped soon."""
    return [
        WorkflowStep(
            identifier=name,
            step_type=last if name == "last" else "FAULT",
            order=order,
            depends_on=["left", "right", "extra"] if name == "last" else [],
            config={"timeout_seconds": 0.3},
            is_required=name != "extra",
        )
        for name, order in zip(STEPS, (1, 2, 2, 2, 2), strict=True)
    ]


class World:
    """Executions of a five-step workflow, and whatever carries them."""

    def __init__(self, database: Database, prefect: PrefectClient, scripts: Sequence[Script]) -> None:
        self.database = database
        self.prefect = prefect
        self.service = Service(database, prefect, SETTINGS)
        self.scripts = list(scripts)
        self.of: dict[UUID, Script] = {}

    async def run(self) -> None:
        """All of them, to their ends."""
        half = len(self.scripts) // 2
        for last, some in (("FAULT", self.scripts[: half // 2]), ("PATIENT_FAULT", self.scripts[half // 2 : half])):
            await self._add("auto-save", last, some, batch=True)
        singles = await self._add("publish", "PATIENT_FAULT", self.scripts[half:])
        await self._carry(auto_save, "auto-save", batch="auto-save")
        await self._carry(publish, "publish", executions=[str(id_) for id_ in singles])
        for _ in range(60):
            if not await self._again():
                return
        raise AssertionError("still open after 60 rounds")

    async def _add(self, kind: str, last: str, scripts: Sequence[Script], **values: Any) -> list[UUID]:
        of = await rows.workflow(self.database, *five_steps(last), kind=kind)
        made = {await rows.execution(self.database, of, trigger_data={"faults": one}, **values): one for one in scripts}
        self.of |= made
        return list(made)

    async def _again(self) -> bool:
        """Carry on what is due; whether anything is still open."""
        await self.service.mirror.read_open()
        await self.service.waits.round()
        await runs.tend(self.database, self.prefect)
        await self.service.mirror.round()
        open_ = [one for one in await rows.every(self.database, Execution) if one.status not in FINAL]
        held = {one.flow_run_id: one.kind for one in open_ if one.flow_run_id}
        for row in [one for one in await rows.every(self.database, FlowRun) if one.id in held and not one.ended_at]:
            state = (await self.prefect.read_flow_run(row.prefect_id)).state
            if state and state.is_scheduled():
                await self._run(publish if row.kind == "publish" else auto_save, row.prefect_id)
        await self._carry_free([one for one in open_ if not one.flow_run_id and one.status != Status.WAITING])
        await asyncio.sleep(0.02)
        return bool(open_)

    async def _carry_free(self, free: Sequence[Execution]) -> None:
        """What is to have another run: together, but what may take its process with it, alone."""
        for kind, flow in (("publish", publish), ("auto-save", auto_save)):
            mine = [one for one in free if one.kind == kind]
            deadly = [one.id for one in mine if any("die" in tries for tries in self.of[one.id].values())]
            harmless = [one.id for one in mine if one.id not in deadly]
            for ids in [harmless, *([id_] for id_ in deadly)]:
                if ids:
                    await self._carry(flow, kind, executions=[str(id_) for id_ in ids])

    async def _carry(self, flow: Flow[Any, Any], kind: str, **parameters: Any) -> None:
        await self._run(flow, (await create(self.prefect, kind, **parameters)).id)

    async def _run(self, flow: Flow[Any, Any], prefect_id: UUID) -> None:
        await self.prefect.set_flow_run_state(prefect_id, Pending(), force=True)
        held = await self.prefect.read_flow_run(prefect_id)
        try:
            await run_flow_async(flow, flow_run=held, parameters=held.parameters, return_type="state")
        except (Pause, faults.Death):
            await asyncio.sleep(0)  # what the dead process was at is not awaited by anybody


@beside_prefect
@seed(SEED)
@settings(
    max_examples=1 + ceil(SCRIPTS / TOGETHER),  # in the first one nothing goes wrong
    phases=(Phase.generate, Phase.shrink) if "AUTOMATION_FAULT_SEED" in os.environ else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(population=POPULATION)
async def test_after_any_script_of_faults_the_record_explains_what_happened(
    database: Database,
    prefect: PrefectClient,
    faulty: None,
    tmp_path: Path,
    population: tuple[list[Script], list[Script]],
) -> None:
    print(f"AUTOMATION_FAULT_SEED={SEED}")
    await _clear(database, tmp_path)
    usual, dying = population
    world = World(database, prefect, [*dying[:1], *usual, *dying[1:]])

    await world.run()

    await world.service.in_line()
    ended = Counter[str]()
    for id_, script in world.of.items():
        ended[await explain(database, id_, script)] += 1
    assert await rows.runs_left(database) == []
    print(dict(ended))


async def _clear(database: Database, folder: Path) -> None:
    """Each example begins with nothing."""
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    async with database.transaction() as session:
        await session.execute(text(f"TRUNCATE {tables} CASCADE"))
        assert await session.scalar(select(Workflow.id)) is None
    await asyncio.to_thread(_empty, folder)


def _empty(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()
