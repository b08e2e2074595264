"""What the service does beside flow runs, at the moments that a test chooses."""

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State

from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.mirror import Mirror, count
from automation.mirror.verify import wrong
from automation.settings import Settings, get_settings
from automation.waits import Waits


class Service:
    """Waits, mirror and dispatcher; they look when they are told to."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings | None = None) -> None:
        self.database = database
        self.prefect = prefect
        self.mirror = Mirror(database, prefect, settings or get_settings())
        self.dispatcher = Dispatcher(database, prefect, settings or get_settings())
        self.waits = Waits(database)

    async def look(self) -> None:
        """Everything once: what is over is resolved, Prefect is told, and its answer is copied."""
        await self.waits.round()
        await self.mirror.read_open()
        await self.dispatcher.round()
        await self.mirror.round()

    async def state(self, flow_run: PrefectRun) -> State[Any]:
        """The state that a run has in Prefect."""
        state = (await self.prefect.read_flow_run(flow_run.id)).state
        assert state is not None
        return state

    async def in_line(self) -> None:
        """`automation mirror verify` finds nothing."""
        await self.look()
        found = await count(self.database, self.prefect)
        assert wrong(found) == 0, found
