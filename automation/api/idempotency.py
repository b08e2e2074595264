"""`Idempotency-Key`: what is sent again under the same key is answered as before, and happens once.

The answer is stored in the transaction of what it tells, for a day; an error is not, since nothing has happened then.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from automation.api.auth import Caller
from automation.errors import RefusedError
from automation.models import IdempotencyKey, utc_now
from automation.models.access import IDEMPOTENCY

REPLAYED = "Idempotency-Replayed"
"""The header, `true`, of an answer that was given before."""

Answer = TypeVar("Answer", bound=BaseModel)

_Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Of your choice: for 24 hours, the same request under it is answered as before and happens once.",
    ),
]


class Once:
    """What a route does under its request's `Idempotency-Key`, if it has one."""

    def __init__(self, request: Request, response: Response, body: bytes, key: str | None) -> None:
        self.key = key
        self._operation = f"{request.method} {request.url.path}"
        self._asked = request.url.query.encode() + b"\n" + body
        self._response = response

    async def __call__(
        self, session: AsyncSession, caller: Caller, model: type[Answer], work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer that `work` makes in this transaction, or that it made when this was asked before.

        Two requests with one key take turns, so that the second finds the first one's answer.

        Raises:
            RefusedError: another request came under this key.
        """
        if self.key is None:
            return await work()
        request_hash = hashlib.sha256(self._asked).digest()
        place = "\n".join((str(caller.key_id or ""), self._operation, self.key))
        id_ = hashlib.sha256(place.encode()).digest()
        lock = int.from_bytes(id_[:8], signed=True)
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock})
        known = await session.get(IdempotencyKey, id_)
        if known is not None and known.created_at > utc_now() - IDEMPOTENCY:
            if known.request_hash != request_hash:
                name = "idempotency-key"
                raise RefusedError(f"{name}: another body was sent under {self.key!r} here; take a new key.", name)
            self._response.headers[REPLAYED] = "true"
            return model.model_validate_json(known.answer)
        answer = await work()
        values = {"request_hash": request_hash, "answer": answer.model_dump_json(), "created_at": utc_now()}
        statement = insert(IdempotencyKey).values(id=id_, **values)
        await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
        return answer


async def _once(request: Request, response: Response, idempotency_key: _Key = None) -> Once:
    return Once(request, response, await request.body(), idempotency_key)


OnceOf = Annotated[Once, Depends(_once)]
"""The type of a route's parameter that gets its `Once`."""
