"""What `benchmarks.history` runs in a process of its own: load a past, time the operations, print JSON."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from sqlalchemy import text

from automation import ops
from automation.api.app import PREFIX, create_app
from automation.api.services import Services
from automation.database import Database
from automation.dispatcher import assign, batches
from automation.engine import queue
from automation.intake.telling import Teller
from automation.mirror import Mirror
from automation.models import FlowRun, utc_now
from automation.settings import Settings, get_settings
from benchmarks.history_load import load
from benchmarks.history_scans import Scans
from benchmarks.pages import PROJECTS, Edit, Json

_EVENTS = 100
_PAGE_SIZE = 50
_HUNDREDTH = 100
_BEFORE = _PAGE_SIZE * (_HUNDREDTH + 1)
"""Executions in what counts as the empty table: as many as it takes to have a hundredth page."""

_OPEN_RUNS = 20
"""Runs that the mirror watches, as AUTOMATION_MAX_IN_FLIGHT."""

_SINGLES = 20

_OPS = {
    "page now": "/ops/",
    "page history, 90 days": "/ops/history/?window=90d",
    "page executions": "/ops/executions/",
    "page failed executions": "/ops/executions/?status=FAILED",
    "page executions of a project": "/ops/executions/?project_id=project-7",
    "page events": "/ops/events/",
    "page dead letters": "/ops/dead-letters/",
    "page alerts": "/ops/alerts/",
}
"""Operations pages by name; that of an execution comes beside them."""


class Probe:
    """The parts of a service process, without its loops, and what each round took."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings) -> None:
        self.database = database
        self.prefect = prefect
        self.settings = settings
        services = Services(settings=settings, database=database, prefect=prefect, teller=Teller(0))
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        app = create_app(services)
        ops.mount(app)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url=f"http://benchmark{PREFIX}/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        self.times: dict[str, list[float]] = {}
        self._page = 0
        self._hundredth = ""

    async def prepare(self) -> None:
        """Projects with batch runs and with single runs, and runs in Prefect that the mirror watches."""
        for prefix in ("project", "single"):
            names = [f"{prefix}-{n}" for n in range(PROJECTS)]
            await self._post([{"type": "project.created", "data": {"project": {"id": one}}} for one in names])
        flow_id = await self.prefect.create_flow_from_name("auto-save")
        async with self.database.transaction() as session:
            single = "UPDATE workflows SET config = '{\"run_mode\": \"single\"}' WHERE project_id LIKE 'single-%'"
            await session.execute(text(single))
            for _ in range(_OPEN_RUNS):
                session.add(await self._open_run(flow_id))

    async def measure(self, rounds: int) -> dict[str, float]:
        """Medians in ms by operation."""
        self.times.clear()
        self._hundredth = await self._find_hundredth()
        await self._sign_in()
        for _ in range(rounds + 1):
            await self.round()
        # the first one fills caches
        return {name: round(median(several[1:]) * 1000, 2) for name, several in self.times.items()}

    async def round(self) -> None:
        """Every operation once; what it left open is ended afterwards."""
        await self._timed("intake, 100 events", self._intake("project"))
        await self._intake("single")
        batch_run = await self._timed("dispatcher, 20 single runs and a batch run", self._dispatch())
        await self._timed("batch run, claim of 100", self._take(batch_run))
        await self._timed("executions, first page", self._get(f"executions/?page_size={_PAGE_SIZE}"))
        await self._timed("executions, 100th page", self._get(self._hundredth))
        await self._timed("metrics, a scrape", self._scrape())
        for name, address in _OPS.items():
            await self._timed(name, self._look(address))
        await self._timed("page of an execution", self._look(f"/ops/executions/{await self._newest()}/"))
        await self._end_all()
        await self._timed("mirror, a round", Mirror(self.database, self.prefect, self.settings).round())

    async def _timed(self, name: str, work: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        answer = await work
        self.times.setdefault(name, []).append(time.perf_counter() - began)
        return answer

    async def _intake(self, prefix: str) -> None:
        """Edits of pages that have a past."""
        self._page = (self._page + _EVENTS) % _BEFORE
        edits = [Edit(n, prefix=prefix) for n in range(self._page, self._page + _EVENTS)]
        await self._post([{"type": "page.updated", "data": one.data()} for one in edits])

    async def _dispatch(self) -> UUID:
        """A dispatcher's round but for its calls to Prefect; the batch run that it stored."""
        async with self.database.transaction() as session:
            await assign.in_flight(session)
            await assign.assign(session, _SINGLES)
            (batch_run,) = await batches.assign_batches(session, self.settings)
        async with self.database.transaction() as session:
            await assign.unsent(session, timedelta(seconds=10))
            await batches.unsent(session, timedelta(seconds=10))
            await assign.next_due(session)
        return batch_run.flow_run_id

    async def _take(self, flow_run_id: UUID) -> None:
        async with self.database.transaction() as session:
            items, _ = await queue.take(session, "auto-save", flow_run_id, self.settings.batch_size, None)
        assert len(items) == _EVENTS, f"{len(items)} were claimed, not {_EVENTS}"

    async def _find_hundredth(self) -> str:
        url = f"executions/?page_size={_PAGE_SIZE}"
        for _ in range(_HUNDREDTH - 1):
            url = (await self._get(url))["next"]
        return url

    async def _get(self, url: str) -> Json:
        answer = await self.client.get(url)
        answer.raise_for_status()
        found: Json = answer.json()
        assert len(found["results"]) == _PAGE_SIZE, f"{url}: {len(found['results'])} results"
        return found

    async def _scrape(self) -> None:
        (await self.client.get("metrics/")).raise_for_status()

    async def _sign_in(self) -> None:
        key = self.settings.api_key.get_secret_value() if self.settings.api_key else ""
        answer = await self.client.post(
            "http://benchmark/ops/login/", data={"key": key}, headers={"Origin": "http://benchmark"}
        )
        assert answer.status_code == 303, answer.text

    async def _look(self, address: str) -> None:
        (await self.client.get(f"http://benchmark{address}")).raise_for_status()

    async def _newest(self) -> str:
        return str((await self._get(f"executions/?page_size={_PAGE_SIZE}"))["results"][0]["id"])

    async def _post(self, events: list[Json]) -> None:
        (await self.client.post("events/", json=events)).raise_for_status()

    async def _end_all(self) -> None:
        async with self.database.transaction() as session:
            for statement in (
                "UPDATE workflow_executions SET status = 'COMPLETED', completed_at = now()"
                " WHERE status IN ('PENDING', 'RUNNING')",
                "UPDATE flow_runs SET ended_at = now(), state = 'COMPLETED', accepts = false, logs_done = true"
                " WHERE ended_at IS NULL AND prefect_id IS NULL",
            ):
                await session.execute(text(statement))

    async def _open_run(self, flow_id: UUID) -> FlowRun:
        """A run that starts tomorrow, in Prefect and in our table."""
        details = {"scheduled_time": (utc_now() + timedelta(days=1)).isoformat()}
        body = {"flow_id": str(flow_id), "state": {"type": "SCHEDULED", "state_details": details}}
        answer = await self.prefect.request("POST", "/flow_runs/", json=body)
        prefect_id = UUID(answer.json()["id"])
        return FlowRun(
            id=uuid4(), prefect_id=prefect_id, kind="auto-save", state="SCHEDULED", state_name="Scheduled",
            claimed_at=utc_now(), accepts=False,
        )  # fmt: skip


async def probe(executions: int, rounds: int) -> Json:
    settings = get_settings()
    assert settings.database_url
    database = Database(settings.database_url)
    async with get_client() as prefect:
        one = Probe(database, prefect, settings)
        await one.prepare()
        await load(database, 1, _BEFORE)
        empty = await one.measure(rounds)
        began = time.monotonic()
        await load(database, _BEFORE + 1, executions)
        loaded = time.monotonic() - began
        full = await one.measure(rounds)
        scans = await _scans(database, one.round)
        await one.client.aclose()
    await database.close()
    return {
        "executions": executions, "loaded_in_seconds": round(loaded), "empty": empty, "full": full, "scans": scans,
    }  # fmt: skip


async def _scans(database: Database, work: Callable[[], Awaitable[None]]) -> list[str]:
    with Scans(database) as scans:
        await work()
    return await scans.found()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(probe(int(sys.argv[1]), int(sys.argv[2])))))
