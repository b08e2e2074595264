"""The service process: the API, the dispatcher and the mirror in one event loop.

Any number of them may run side by side on one database.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvicorn
from prefect.client.orchestration import get_client

from automation import ops, tracing
from automation.alerting.away import DatabaseWatch
from automation.alerting.loop import Alerting
from automation.api.alerts import shown_alert
from automation.api.app import create_app
from automation.api.execution_answers import shown
from automation.api.server import Server
from automation.api.services import Services
from automation.callback import receivers
from automation.callback.loop import Callback
from automation.clock import Clock
from automation.collector import spare_collector
from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.erasure import Erasure
from automation.errors import SettingError
from automation.intake.telling import Teller
from automation.integrations.sweep import Sweep
from automation.logs import process
from automation.mirror import Mirror
from automation.monitoring.fold import Folding
from automation.monitoring.resources import Sampler
from automation.outbox import Outbox
from automation.schedules import Schedules
from automation.settings import Settings
from automation.waits import Waits
from automation.watch import Watcher

log = logging.getLogger(__name__)

_BACKOFF = (1.0, 2.0, 5.0, 10.0)
"""Seconds between two tries of a loop that fails, as when the database or Prefect is away."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        SettingError: AUTOMATION_DATABASE_URL is not set, or somebody is to be told and nothing to sign with is, or
            the rules of alerts are wrong.
    """
    if settings.database_url is None:
        raise SettingError('AUTOMATION_DATABASE_URL is not set; use `automation up`, or eval "$(automation env)"')
    process.set_up("service", settings, prints=True)
    tracing.set_up("service")
    spare_collector()
    try:
        asyncio.run(_serve(settings, settings.database_url))
    finally:
        tracing.shut_down()


async def _serve(settings: Settings, url: str) -> None:
    database = Database(url, pool_size=10)
    alerting = Alerting(database, settings)
    told = []
    if settings.studio_callback_url:
        told.append(Callback(database, receivers.studio(settings, shown)))
    if settings.alert_webhook_url:
        told.append(Callback(database, receivers.of_alerts(settings, shown_alert)))
    async with get_client() as prefect:
        teller = Teller(settings.decision_events_per_second)
        services = Services(settings=settings, database=database, prefect=prefect, teller=teller)
        app = create_app(services)
        ops.mount(app)
        server = Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.api_port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=5,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when it is done
            loop.add_signal_handler(number, lambda: None)
        background = [
            asyncio.create_task(_forever("clock", Clock(database, settings, services.announcer).run)),
            asyncio.create_task(_forever("dispatcher", Dispatcher(database, prefect, settings).run)),
            asyncio.create_task(_forever("waits", Waits(database).run)),
            asyncio.create_task(_forever("mirror", Mirror(database, prefect, settings).run)),
            asyncio.create_task(_forever("outbox", Outbox(database, settings).run)),
            asyncio.create_task(_forever("schedules", Schedules(database, prefect, settings).run)),
            asyncio.create_task(_forever("sweep of credentials", Sweep(database, prefect).run)),
            asyncio.create_task(_forever("folding of figures", Folding(database).run)),
            asyncio.create_task(_forever("sampler", Sampler(database, "service", settings.home).run)),
            asyncio.create_task(_forever("erasure", Erasure(database, prefect, settings).run)),
            asyncio.create_task(_forever("alerting", alerting.run)),
            asyncio.create_task(_forever("watch over the database", DatabaseWatch(database, settings).run)),
        ]
        background += [asyncio.create_task(_forever("callback", one.run)) for one in told]
        if settings.watch_roots:
            watcher = Watcher(database, settings, services.announcer)
            background.append(asyncio.create_task(_forever("file watcher", watcher.run)))
        try:
            await server.serve()
        finally:
            for task in background:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*background)
            await database.close()


async def _forever(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Run a part again whenever it fails: it keeps all its state in the database."""
    failures = 0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await part()
            error: object = "its database connection was closed"
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            log.debug("%s failed", name, exc_info=True)
        if asyncio.get_running_loop().time() - began > 60:
            failures = 0
        pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
        failures += 1
        log.warning("The %s stopped (%s); starting it again in %g s.", name, error, pause)
        await asyncio.sleep(pause)
