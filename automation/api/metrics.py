"""What is measured, for Prometheus."""

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automation.api.auth import Reader
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.monitoring import exposition

router = APIRouter(prefix="/metrics", tags=["metrics"])


@router.get("/", response_class=PlainTextResponse, responses=keyed(404))
async def get_metrics(caller: Reader, services: ServicesOf) -> Response:
    """All metrics in Prometheus' text format (0.0.4). They are of the whole platform: a key for one project finds
    nothing here. A scraper sends its key as `Authorization: Bearer`.
    """
    caller.require_project(None, "The metrics are of the whole platform; this key is for one project.")
    async with services.database.reading() as session:
        reading = await exposition.read(session, services.settings)
    text = await asyncio.to_thread(exposition.render, reading, services.settings.metrics_projects)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


class CountsRefusals:
    """Counts the webhooks that are refused, whoever refuses them. Plain ASGI, around the routes."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self.prefix):
            await self.app(scope, receive, send)
            return
        door = "studio" if scope["path"] == f"{self.prefix}studio/" else "trigger"

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                exposition.WEBHOOK_REFUSALS.labels(door, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, answer)
