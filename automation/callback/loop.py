"""Sending what is due to whoever is told, signed as Standard Webhooks says."""

import asyncio
import logging
from contextlib import suppress

import httpx
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from automation import tracing
from automation.callback import due
from automation.callback.body import body_of
from automation.callback.due import Answered, Due
from automation.callback.receivers import Receiver
from automation.callback.tell import DELIVERIES_CHANNEL
from automation.database import Database
from automation.errors import NotFoundError
from automation.models import utc_now
from automation.steps import one_line

log = logging.getLogger(__name__)

_AT_ONCE = 16
"""Requests under way at once: a receiver that takes 20 ms for each keeps up with 800 executions a second."""
_PAUSE = 5.0
"""Longest wait in seconds between two looks, should a NOTIFY be lost."""
_HOLD = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds of rest after a round in which nothing was taken. Then one delivery alone tries whether they are back, so
that an outage costs each of the others nothing, and all of them go as soon as it is over."""
_SHOWN = 300
"""Characters of an answer that an error shows."""


class Callback:
    """Tells one receiver. Any number may run side by side; each delivery goes to one of them."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self.database = database
        self._receiver = receiver
        self._webhook = Webhook(receiver.secret.get_secret_value())
        self._wake = asyncio.Event()
        self._in_vain = 0
        """Rounds in which nothing was taken, since the last one in which something was."""

    async def run(self) -> None:
        """Send until cancelled."""
        connection = await self.database.listen()
        try:
            async with self._client() as client:
                await connection.add_listener(DELIVERIES_CHANNEL, lambda *_: self._wake.set())
                while not connection.is_closed():
                    self._wake.clear()
                    while await self.round(client):
                        pass
                    await self._sleep()
        finally:
            connection.terminate()

    async def round(self, client: httpx.AsyncClient) -> int:
        """Send some of what is due; how many deliveries were taken."""
        async with self.database.transaction() as session:
            taken = await due.take(session, 1 if self._in_vain else _AT_ONCE, self._receiver.of_alerts)
        async with self.database.transaction() as session:
            found = [await self._find(session, one) for one in taken]
        answers = await asyncio.gather(*(self._send(client, *pair) for pair in zip(taken, found, strict=True)))
        async with self.database.transaction() as session:
            await due.note(session, answers)
        told = sum(not one.error for one in answers)
        if told:
            self._in_vain = 0
        elif any(not one.hopeless for one in answers):
            self._in_vain += 1
            log.warning("%s was not told of %s: %s", self._receiver.name, answers[0].due.type, answers[0].error)
        return told

    async def _sleep(self) -> None:
        if self._in_vain:
            await asyncio.sleep(_HOLD[min(self._in_vain, len(_HOLD)) - 1])
            return
        async with self.database.transaction() as session:
            at = await due.next_due(session, self._receiver.of_alerts)
        pause = min(_PAUSE, (at - utc_now()).total_seconds()) if at else _PAUSE
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.01)):
                await self._wake.wait()

    def _client(self) -> httpx.AsyncClient:
        """One for all deliveries. The address is the operator's, who may well mean one of our own network."""
        limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
        return httpx.AsyncClient(timeout=due.TIMEOUT, limits=limits, headers={"user-agent": "Automation"})

    async def _find(self, session: AsyncSession, one: Due) -> BaseModel | None:
        """What a delivery tells, as it is now; None when that was deleted."""
        try:
            return await self._receiver.find(session, one)
        except NotFoundError:
            return None

    async def _send(self, client: httpx.AsyncClient, one: Due, data: BaseModel | None) -> Answered:
        if data is None:
            return Answered(one, None, "what it tells of was deleted", hopeless=True)
        body = await asyncio.to_thread(lambda: body_of(one, data.model_dump(mode="json")))
        try:
            with tracing.call("POST", httpx.URL(self._receiver.url).host, parent=one.traceparent) as called:
                async with asyncio.timeout(due.TIMEOUT):
                    return await self._post(client, one, body, called)
        except TimeoutError:
            return Answered(one, None, f"no answer within {due.TIMEOUT:g} s")
        except httpx.HTTPError as error:
            return Answered(one, None, one_line(f"{type(error).__name__}: {error}")[:_SHOWN])

    async def _post(self, client: httpx.AsyncClient, one: Due, body: bytes, called: tracing.Call) -> Answered:
        now, id_ = utc_now(), str(one.id)
        headers = {
            "content-type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(id_, now, body.decode()),
            **called.headers,
        }
        async with client.stream("POST", self._receiver.url, content=body, headers=headers) as answer:
            called.answered(answer.status_code)
            said = b""
            async for chunk in answer.aiter_raw(_SHOWN):
                if len(said) < _SHOWN:
                    said += chunk
            if answer.is_success:
                return Answered(one, answer.status_code, "")
            shown = one_line(said.decode(errors="replace").strip()[:_SHOWN])
            return Answered(one, answer.status_code, f"answered {answer.status_code}{f': {shown}' if shown else ''}")
