"""The API over real HTTP: a server on a free port, with PostgreSQL and Prefect behind it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import uvicorn
from httpx import AsyncClient, Response
from standardwebhooks import Webhook

from automation import ops
from automation.api import Services, create_app
from automation.api.server import Server
from automation.database import Database
from automation.models import Execution, Project, Status, Workflow, utc_now

KEY = "a-key-for-tests"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()


@dataclass(frozen=True)
class Api:
    """The API as its callers see it; `client` carries the key, `services` is what is behind it."""

    url: str
    client: AsyncClient
    services: Services

    @property
    def database(self) -> Database:
        return self.services.database

    async def get(self, path: str, **params: Any) -> Response:
        return await self.client.get(path, params=params)

    async def post(self, path: str, body: object = None, **headers: str) -> Response:
        if body is None:
            return await self.client.post(path, headers=headers)
        return await self.client.post(path, content=orjson.dumps(body), headers=headers)

    async def webhook(self, event: object, *, id: str = "msg_1", age: float = 0, secret: str = SECRET) -> Response:
        """Send a webhook as Studio does, signed `age` seconds ago."""
        at = datetime.now(UTC) - timedelta(seconds=age)
        body = orjson.dumps(event)
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(id, at, body.decode()),
        }
        async with AsyncClient(base_url=self.url) as client:
            return await client.post("webhooks/studio/", content=body, headers=headers)

    async def workflow(self, project_id: str | None = "p1", kind: str = "custom", **values: Any) -> UUID:
        """Write a workflow (and its project) without steps."""
        async with self.database.transaction() as session:
            if project_id and await session.get(Project, project_id) is None:
                session.add(Project(id=project_id, name=project_id))
                await session.flush()
            values = {"name": f"Workflow of {project_id}", "trigger_type": "API_CALL"} | values
            workflow = Workflow(id=uuid4(), project_id=project_id, kind=kind, **values)
            session.add(workflow)
        return workflow.id

    async def execution(self, workflow_id: UUID, status: str = Status.PENDING, **values: Any) -> UUID:
        """Write an execution of a workflow."""
        async with self.database.transaction() as session:
            workflow = await session.get_one(Workflow, workflow_id)
            defaults = {"project_id": workflow.project_id, "kind": workflow.kind, "trigger_type": "API_CALL"}
            execution = Execution(id=uuid4(), workflow_id=workflow_id, status=status, **(defaults | values))
            session.add(execution)
        return execution.id

    async def executions(self, workflow_id: UUID, count: int, **values: Any) -> list[UUID]:
        """Write executions a second apart; the newest one's id is the first."""
        begin = utc_now() - timedelta(hours=1)
        ids = [
            await self.execution(workflow_id, created_at=begin + timedelta(seconds=number), **values)
            for number in range(count)
        ]
        return ids[::-1]

    async def stored(self, execution_id: UUID) -> Execution:
        """The execution as it is in the table now."""
        async with self.database.transaction() as session:
            return await session.get_one(Execution, execution_id)


@asynccontextmanager
async def serve(services: Services, *, with_pages: bool = False) -> AsyncIterator[Api]:
    """An API on a free port of this machine, and the operations pages beside it if they are wanted."""
    app = create_app(services)
    if with_pages:
        ops.mount(app)
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    _, port = server.servers[0].sockets[0].getsockname()
    url = f"http://127.0.0.1:{port}/api/automation/"
    try:
        async with AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            yield Api(url, client, services)
    finally:
        server.should_exit = True
        await serving


def page_event(project_id: str = "p1", page_id: str = "home", **more: Any) -> dict[str, Any]:
    """A page event; two of them differ in nothing but what is given."""
    page = {"id": page_id, "name": "Accueil", "route": "/", "config": {"components": []}}
    return {"type": "page.updated", "data": {"project_id": project_id, "page": page}, **more}
