"""Coalescing and order per key, over random sequences of edits on a clock of the test's own.

What is proven here for auto-save holds for every kind with a key: the last state always wins, there is at most
one run per interval and key, no execution runs beside another of its key, and an old payload never overwrites
a newer one.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from automation.database import Database
from automation.engine import claim, queue, record
from automation.engine.plan import Item
from automation.intake import accept, create, parse_event
from automation.models import Execution, FlowRun, Status
from automation.runtime import store
from automation.settings import Settings
from tests.integration.drawing import beside_prefect

INTERVAL = 30
SETTINGS = Settings(AUTO_SAVE_INTERVAL=INTERVAL)
START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (create, queue, record, claim):
        monkeypatch.setattr(module, "utc_now", clock)
    return clock


@dataclass(frozen=True)
class Edit:
    """A page was changed; `late` seconds pass until we hear of it."""

    page: int
    late: int
    wait: int


@dataclass(frozen=True)
class Finish:
    """The oldest run under way ends, or fails for a while."""

    fails: bool
    wait: int


@dataclass(frozen=True)
class Take:
    """A batch run takes what is due."""

    wait: int


WAITS = st.sampled_from([0, 0, 1, 7, INTERVAL - 1, INTERVAL])
EDITS = st.builds(Edit, page=st.sampled_from([0, 0, 0, 1]), late=st.sampled_from([0, 0, 8, 45]), wait=WAITS)
STEPS = st.one_of(
    EDITS,
    EDITS,
    EDITS,
    st.builds(Take, wait=WAITS),
    st.builds(Finish, fails=st.booleans(), wait=WAITS),
)


@dataclass
class World:
    """Studio, the batch run and the disk, with everything that was seen on the way."""

    database: Database
    root: Path
    clock: Clock
    versioned: bool
    project: str = field(default_factory=lambda: f"p-{uuid4()}")
    edits: int = 0
    running: list[Item] = field(default_factory=list)
    starts: dict[str, list[datetime]] = field(default_factory=dict)
    written: dict[str, list[int]] = field(default_factory=dict)
    truth: dict[str, int] = field(default_factory=dict)
    late: list[tuple[datetime, dict[str, object]]] = field(default_factory=list)

    async def edit(self, step: Edit) -> None:
        """Studio's versions and clock only rise; the network may deliver in another order."""
        self.edits += 1
        page_id = f"page-{step.page}"
        self.truth[page_id] = self.edits
        page = {"id": page_id, "name": str(self.edits), "config": {}}
        if self.versioned:
            page["version"] = self.edits // 2  # some have the same: then the later one is newer
        happened = self.clock.now + timedelta(milliseconds=self.edits)
        event = {
            "type": "page.updated",
            "timestamp": happened.isoformat(),
            "data": {"project_id": self.project, "page": page},
        }
        self.late.append((self.clock.now + timedelta(seconds=step.late), event))

    async def deliver(self, *, everything: bool = False) -> None:
        due = [one for one in self.late if everything or one[0] <= self.clock.now]
        self.late = [one for one in self.late if one not in due]
        for _, event in due:
            await accept(self.database, [parse_event(event)], source="api", settings=SETTINGS)

    async def take(self) -> int:
        async with self.database.transaction() as session:
            run = FlowRun(kind="auto-save", mode="batch")
            session.add(run)
            await session.flush()
            items, _ = await queue.take(session, "auto-save", run.id, 500, None)
        mine = [item for item in items if item.project.id == self.project]
        for item in mine:
            page_id = item.trigger_data["page"]["id"]
            assert page_id not in {other.trigger_data["page"]["id"] for other in self.running}, "two at once"
            self.starts.setdefault(page_id, []).append(self.clock.now)
            self.running.append(item)
        return len(mine)

    async def finish(self, *, fails: bool) -> None:
        if not self.running:
            return
        item = self.running.pop(0)
        outcome = record.Outcome(Status.COMPLETED)
        if fails:
            outcome = record.Outcome(Status.RETRYING, {}, "no", "NETWORK_ERROR", self.clock.now)
        else:
            self.save(item)
        async with self.database.transaction() as session:
            assert await record.still_ours(session, [item])
            await record.executions_ended(session, [(item, outcome)], SETTINGS, batch=True)

    async def retry(self) -> None:
        """What failed runs again, alone, unless something newer has taken its place."""
        async with self.database.transaction() as session:
            query = select(Execution).where(Execution.project_id == self.project, Execution.status == Status.RETRYING)
            waiting = (await session.execute(query)).scalars().all()
            items = await claim.load_items(session, waiting)
            for execution, item in zip(waiting, items, strict=True):
                self.save(item)
                execution.status = Status.COMPLETED

    def save(self, item: Item) -> None:
        page = item.trigger_data["page"]
        stamp = store.Stamp(item.occurred_at, store.version_of(page), str(item.execution_id))
        if store.save_page(self.root, self.project, page, stamp, backup_previous=True).saved:
            self.written.setdefault(page["id"], []).append(int(page["name"]))


@beside_prefect
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=12, max_size=40), versioned=st.booleans())
async def test_the_last_state_wins_and_a_key_is_never_worked_on_twice_at_once(
    database: Database, tmp_path: Path, clock: Clock, steps: list[Edit | Take | Finish], versioned: bool
) -> None:
    world = World(database, tmp_path, clock, versioned)
    for step in steps:
        match step:
            case Edit():
                await world.edit(step)
            case Take():
                await world.take()
            case Finish():
                await world.finish(fails=step.fails)
        clock.now += timedelta(seconds=step.wait)
        await world.deliver()

    await world.deliver(everything=True)
    while world.running:
        await world.finish(fails=False)
    await world.retry()
    clock.now += timedelta(seconds=2 * INTERVAL)
    while await world.take():
        while world.running:
            await world.finish(fails=False)
        clock.now += timedelta(seconds=2 * INTERVAL)

    for page_id, last in world.truth.items():
        saved = store.read_page(world.root, world.project, page_id)
        assert saved is not None
        assert int(saved["name"]) == last, "the last state is on disk"
        assert world.written[page_id] == sorted(world.written[page_id]), "nothing old over something newer"
        starts = world.starts.get(page_id, [])
        gaps = [after - before for before, after in pairwise(starts)]
        assert all(gap >= timedelta(seconds=INTERVAL) for gap in gaps), f"one run per interval: {gaps}"
