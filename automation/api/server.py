"""The API's HTTP server: uvicorn, which neither waits for slow clients nor for those who would stay."""

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from automation.api.services import Services

_KEPT = 30
"""Seconds for which a connection stays open without a request. Clients keep theirs for 5 or so (httpx does): who sends
should be the first to close it, or a request now and then meets a connection that is just being closed."""


class Server(uvicorn.Server):
    """uvicorn, which sends those away first who would stay for as long as an execution runs."""

    def __init__(self, config: uvicorn.Config) -> None:
        config.http = Patient
        config.timeout_keep_alive = _KEPT
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        await app.state.watching.close()
        await app.state.following.close()
        await super().shutdown(sockets)


class Patient(H11Protocol):
    """A connection that is cut when its client takes longer than AUTOMATION_SLOW_CLIENT_TIMEOUT to send a request, or
    to take any of what it is answered."""

    def __init__(self, config: uvicorn.Config, *arguments: Any, **more: Any) -> None:
        super().__init__(config, *arguments, **more)
        app = config.app
        assert isinstance(app, FastAPI)
        services: Services = app.state.services
        self._patience = services.settings.slow_client_timeout
        self._sending: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._sending = self.loop.call_later(self._patience, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # no timer of uvicorn's is as patient as one could be with a head, or a body, that comes byte by byte
        is_answered = self.cycle is None or self.cycle.response_complete
        if is_answered or self.cycle.more_body:
            self._sending = self._sending or self.loop.call_later(self._patience, self.transport.abort)
        else:
            _stop(self._sending)
            self._sending = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self._taking or self.loop.call_later(self._patience, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _stop(self._taking)
        self._taking = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _stop(self._sending)
        _stop(self._taking)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
