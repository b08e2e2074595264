"""The API's HTTP server."""

import socket

import uvicorn
from fastapi import FastAPI


class Server(uvicorn.Server):
    """uvicorn, which sends those away first who would stay for as long as an execution runs."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        await app.state.watching.close()
        await super().shutdown(sockets)
