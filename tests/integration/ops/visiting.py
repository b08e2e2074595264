"""Somebody in front of the operations pages, as their browser speaks for them."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from httpx import AsyncClient, Response

from tests.integration.api.serving import Api

TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@dataclass(frozen=True)
class Visitor:
    """A browser that keeps cookies and follows no redirect by itself; `api` is what is behind the pages."""

    api: Api
    client: AsyncClient

    @property
    def origin(self) -> str:
        return self.api.url.removesuffix("/api/automation/")

    async def get(self, path: str = "", **params: Any) -> Response:
        return await self.client.get(urljoin(f"{self.origin}/ops/", path), params=params or None)

    async def page(self, path: str = "", **params: Any) -> str:
        """A page that has to be there."""
        answer = await self.get(path, **params)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[-2000:]}"
        return answer.text

    async def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Response:
        """Send a form as a page of these would, but for what is given."""
        sent = {"Origin": self.origin} | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        return await self.client.post(urljoin(f"{self.origin}/ops/", path), data=fields, headers=sent)

    async def press(self, path: str, **fields: str) -> Response:
        """Press a button: the form with the token that the pages have."""
        return await self.post(path, form_token=await self.token(), **fields)

    async def token(self) -> str:
        found = TOKEN.search(await self.page())
        assert found
        return found[1]

    async def sign_in(self, key: str, next: str = "/ops/") -> Response:
        return await self.post("login/", key=key, next=next)


async def key_of(api: Api, *scopes: str, name: str = "somebody", project_id: str | None = None) -> dict[str, Any]:
    """A new key: `key` and `id`."""
    answer = await api.post("api-keys/", {"name": name, "scopes": list(scopes), "project_id": project_id})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body
