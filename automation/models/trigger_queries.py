"""What people ask of triggers (the list, one of them), and what the webhook's door asks: which one it leads to, and
the secrets that its sender may sign with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import Row, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import ConflictError, NotFoundError
from automation.models.base import Json, utc_now
from automation.models.paging import Order, Page, Position, read_page
from automation.models.trigger import Trigger, WebhookSecret
from automation.models.workflow import Workflow

NEWEST_FIRST = Order(Trigger.created_at, Trigger.id, descending=True)
_WITH_WORKFLOW = select(Trigger, Workflow.is_active).join(Workflow, Workflow.id == Trigger.workflow_id)


async def list_triggers(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    workflow_id: UUID | None = None,
    trigger_type: str | None = None,
    is_active: bool | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Trigger, bool]]:
    """Triggers of workflows that are not archived, with whether their workflow is active, newest first;
    ix_triggers_created_at_id, ix_triggers_project_id_created_at, ix_triggers_workflow_id."""
    query = _WITH_WORKFLOW.where(Workflow.archived_at.is_(None))
    if project_id is not None:
        query = query.where(Trigger.project_id == project_id)
    if workflow_id is not None:
        query = query.where(Trigger.workflow_id == workflow_id)
    if trigger_type is not None:
        query = query.where(Trigger.trigger_type == trigger_type)
    if is_active is not None:
        query = query.where(Trigger.is_active == is_active)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_trigger(session: AsyncSession, trigger_id: UUID) -> tuple[Trigger, bool]:
    """One trigger, with whether its workflow is active.

    Raises:
        NotFoundError: there is no such trigger.
    """
    found = (await session.execute(_WITH_WORKFLOW.where(Trigger.id == trigger_id))).tuples().one_or_none()
    if found is None:
        raise NotFoundError(f"Trigger {trigger_id} does not exist.")
    return found


@dataclass(frozen=True, slots=True)
class WebhookTrigger:
    """A WEBHOOK trigger as its door needs it."""

    project_id: str
    scheme: Literal["standard", "github", "stripe"]


async def find_webhook(session: AsyncSession, trigger_id: UUID) -> WebhookTrigger:
    """A WEBHOOK trigger that is active, as is its workflow.

    Raises:
        NotFoundError: there is none; the text does not say whether there is another of that id.
    """
    query = (
        select(Trigger.project_id, Trigger.config)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .where(
            Trigger.id == trigger_id,
            Trigger.trigger_type == "WEBHOOK",
            Trigger.is_active,
            Workflow.is_active,
            Workflow.archived_at.is_(None),
        )
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFoundError(f"There is no webhook {trigger_id}.")
    return WebhookTrigger(found.project_id or "", found.config.get("scheme", "standard"))


async def lock_webhook(session: AsyncSession, trigger_id: UUID) -> WebhookTrigger:
    """The same for who changes its secrets, also while it is switched off; others wait until the commit.

    Raises:
        NotFoundError: there is no such trigger.
        ConflictError: it is of another type.
    """
    query = select(Trigger).where(Trigger.id == trigger_id).with_for_update()
    trigger = await session.scalar(query)
    if trigger is None:
        raise NotFoundError(f"Trigger {trigger_id} does not exist.")
    if trigger.trigger_type != "WEBHOOK":
        raise ConflictError(f"Trigger {trigger_id} is of type {trigger.trigger_type}; only a WEBHOOK has a secret.")
    return WebhookTrigger(trigger.project_id or "", trigger.config.get("scheme", "standard"))


async def file_triggers(session: AsyncSession) -> Sequence[Row[tuple[UUID, str | None, Json]]]:
    """Id, project and config of all FILE_CHANGE triggers that are active, with their workflows; ix_triggers_watched."""
    query = (
        select(Trigger.id, Trigger.project_id, Trigger.config)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .where(
            Trigger.trigger_type == "FILE_CHANGE",
            Trigger.is_active,
            Workflow.is_active,
            Workflow.archived_at.is_(None),
        )
    )
    return (await session.execute(query)).all()


async def valid_secrets(session: AsyncSession, trigger_id: UUID, now: datetime) -> list[str]:
    """The secrets that a trigger's sender may sign with, at most two; ix_webhook_secrets_trigger_id."""
    query = select(WebhookSecret.secret).where(
        WebhookSecret.trigger_id == trigger_id,
        or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > now),
    )
    return list(await session.scalars(query))


async def add_secret(session: AsyncSession, trigger_id: UUID, secret: str, overlap: timedelta) -> None:
    """Make `secret` the trigger's. The one before stays valid for `overlap`, the one before that no longer.

    The caller has made or locked the trigger in this transaction, so that there are never three.
    """
    of_trigger = WebhookSecret.trigger_id == trigger_id
    now = utc_now()
    await session.execute(delete(WebhookSecret).where(of_trigger, WebhookSecret.expires_at.is_not(None)))
    await session.execute(update(WebhookSecret).where(of_trigger).values(expires_at=now + overlap))
    session.add(WebhookSecret(trigger_id=trigger_id, secret=secret, created_at=now))
    await session.flush()
