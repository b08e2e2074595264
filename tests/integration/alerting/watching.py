"""An alerting in a test: it looks, and time passes, when it is told to; its messages really arrive."""

from dataclasses import dataclass, field

from sqlalchemy import text

from automation.alerting.loop import Alerting
from automation.database import Database
from automation.models import Alert
from automation.outbox import Outbox
from automation.settings import Settings
from tests.integration.neighbours import Neighbour
from tests.integration.rows import every

_SHIFT = """
    UPDATE alerts SET created_at = created_at - CAST(:by AS interval), fired_at = fired_at - CAST(:by AS interval),
        last_seen_at = last_seen_at - CAST(:by AS interval), resolved_at = resolved_at - CAST(:by AS interval),
        notified_at = notified_at - CAST(:by AS interval), over_notified_at = over_notified_at - CAST(:by AS interval)
"""


@dataclass
class Watch:
    """`told` are the titles of what the administrators have read, in their order."""

    database: Database
    settings: Settings
    pager: Neighbour
    alerting: Alerting = field(init=False)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process goes on."""
        self.alerting = Alerting(self.database, self.settings)
        self.outbox = Outbox(self.database, self.settings)

    async def look(self) -> None:
        """One look at everything; who is to be told is told."""
        await self.alerting.look()
        await self.tell()

    async def tell(self) -> None:
        """One round without a look: what was noticed on the spot, and what is due."""
        await self.alerting.round()
        while await self.outbox.round():
            pass

    async def lasts(self, seconds: float) -> None:
        """Time passes, with a look every 30 s."""
        while seconds > 0:
            await self.passes(min(30.0, seconds))
            await self.look()
            seconds -= 30

    async def passes(self, seconds: float) -> None:
        """Time passes for all alerts, and nobody looks."""
        async with self.database.transaction() as session:
            await session.execute(text(_SHIFT.replace("CAST(:by AS interval)", f"interval '{seconds} s'")))

    @property
    def told(self) -> list[str]:
        return [one.json["title"] for one in self.pager.requests]

    @property
    def bodies(self) -> list[str]:
        return [one.json["message"] for one in self.pager.requests]

    async def alerts(self) -> list[Alert]:
        return sorted(await every(self.database, Alert), key=lambda one: one.created_at)

    async def alert(self) -> Alert:
        """The only one."""
        (only,) = await self.alerts()
        return only

    async def states(self) -> list[tuple[str, str]]:
        return [(one.rule, one.state) for one in await self.alerts()]
