"""The audit: who changed what, and who asked for what. One row a change, in the transaction of the change."""

from collections.abc import Collection, Iterable
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import AuditEntry, Execution, Json, utc_now
from automation.redaction import redact
from automation.requests import request_id


class Actor(Protocol):
    """Who does it, such as the API's `Caller`; `key_id` is None for the key in AUTOMATION_API_KEY."""

    @property
    def key_id(self) -> UUID | None: ...

    @property
    def name(self) -> str: ...


async def note(
    session: AsyncSession,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: object,
    project_id: str | None,
    before: Json | None = None,
    after: Json | None = None,
) -> None:
    """Note one change, in the caller's transaction; secrets in `before` and `after` are redacted.

    Args:
        action: a verb: `create`, `update`, `delete`, `retry`, `cancel`, `approve`, …
        object_type: a noun, as in the address without its plural: `workflow`, `execution`, `api-key`, …
        before, after: what answers of the API show of the object (plain JSON); None: it was, or is, not there.
    """
    await note_each(session, actor, action, object_type, [(object_id, project_id)], before, after)


async def note_executions(
    session: AsyncSession, actor: Actor, action: str, ids: Collection[UUID], before: Json | None, after: Json | None
) -> None:
    """Note the same wish for many executions."""
    rows = await session.execute(select(Execution.id, Execution.project_id).where(Execution.id.in_(ids)))
    await note_each(session, actor, action, "execution", rows.tuples(), before, after)


async def note_each(
    session: AsyncSession,
    actor: Actor,
    action: str,
    object_type: str,
    objects: Iterable[tuple[object, str | None]],
    before: Json | None = None,
    after: Json | None = None,
) -> None:
    """Note the same change of many objects, each given as its id and project; nothing when there are none."""
    common: dict[str, Any] = {
        "at": utc_now(),
        "key_id": actor.key_id,
        "actor": actor.name,
        "action": action,
        "object_type": object_type,
        "before": None if before is None else redact(before),
        "after": None if after is None else redact(after),
        "request_id": request_id.get(),
    }
    rows = [common | {"object_id": str(id_), "project_id": project_id} for id_, project_id in objects]
    if rows:
        await session.execute(insert(AuditEntry), rows)
