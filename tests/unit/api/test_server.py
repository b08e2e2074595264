"""How long the API's server keeps what nobody uses."""

import httpx
import uvicorn
from fastapi import FastAPI

from automation.api.server import Server


def test_a_client_closes_an_idle_connection_before_we_do() -> None:
    theirs = httpx.Limits().keepalive_expiry

    assert theirs is not None
    assert Server(uvicorn.Config(FastAPI())).config.timeout_keep_alive > theirs
