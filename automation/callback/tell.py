"""What Studio is to be told, written in the transaction in which it happens: it is told of all that is committed,
and of nothing else.

A row holds no payload, since most of what ends is told within a second: what is sent is read then. Where nobody is
to be told (AUTOMATION_STUDIO_CALLBACK_URL is not set), nothing is written.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import ConflictError
from automation.models import Delivery, utc_now
from automation.models.recovery_queries import lock_delivery
from automation.settings import Settings

DELIVERIES_CHANNEL = "automation_deliveries"
"""NOTIFY channel that says that deliveries are due."""

WORKFLOWS_READY = "workflows.ready"

# The dispatch number rises whenever an execution is begun again, so each of its ends is told once. A slot that was
# skipped did not run.
_ENDED = text("""
    WITH told AS (
        INSERT INTO deliveries (
            id, key, type, execution_id, project_id, status, attempts, due_at, last_error, created_at
        )
        SELECT gen_random_uuid(), concat_ws(':', 'execution', id, dispatch_no, status), 'execution.' || lower(status),
               id, project_id, 'PENDING', 0, CAST(:now AS timestamptz), '', CAST(:now AS timestamptz)
        FROM workflow_executions
        WHERE id = ANY(CAST(:ids AS uuid[])) AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
          AND error_code <> 'SKIPPED'
        ON CONFLICT (key) DO NOTHING
        RETURNING id
    )
    SELECT pg_notify(:channel, '') WHERE EXISTS (SELECT FROM told)
""")
_READY = text("""
    WITH told AS (
        INSERT INTO deliveries (id, key, type, project_id, status, attempts, due_at, last_error, created_at)
        SELECT gen_random_uuid(), concat_ws(':', 'project', project_id, 'ready'), CAST(:type AS text),
               project_id, 'PENDING', 0, CAST(:now AS timestamptz), '', CAST(:now AS timestamptz)
        FROM unnest(CAST(:projects AS text[])) AS project_id
        ON CONFLICT (key) DO NOTHING
        RETURNING id
    )
    SELECT pg_notify(:channel, '') WHERE EXISTS (SELECT FROM told)
""")


async def executions_ended(session: AsyncSession, settings: Settings, ids: Collection[UUID]) -> None:
    """Those of these executions that are COMPLETED, FAILED or CANCELLED now are to be told, each end once.

    One statement however many there are; what they ended as must have been flushed.
    """
    if settings.studio_callback_url and ids:
        await session.execute(_ENDED, {"ids": list(ids), "now": utc_now(), "channel": DELIVERIES_CHANNEL})


async def workflows_ready(session: AsyncSession, settings: Settings, project_ids: Collection[str]) -> None:
    """Projects that have just got their default workflows."""
    if settings.studio_callback_url and project_ids:
        told = {"projects": sorted(project_ids), "type": WORKFLOWS_READY}
        await session.execute(_READY, {**told, "now": utc_now(), "channel": DELIVERIES_CHANNEL})


async def redeliver(session: AsyncSession, settings: Settings, delivery_id: UUID) -> Delivery:
    """Send a delivery now, under its old id, whatever became of it; its tries are counted anew.

    Raises:
        NotFoundError: there is no such delivery.
        ConflictError: nobody is to be told.
    """
    delivery = await lock_delivery(session, delivery_id)
    if delivery.alert_id is None and not settings.studio_callback_url:
        raise ConflictError("AUTOMATION_STUDIO_CALLBACK_URL is not set, so there is nobody to send this to.")
    if delivery.alert_id is not None and not settings.alert_webhook_url:
        raise ConflictError("AUTOMATION_ALERT_WEBHOOK_URL is not set, so there is nobody to send this to.")
    delivery.status = "PENDING"
    delivery.attempts = 0
    delivery.due_at = utc_now()
    delivery.delivered_at = None
    await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": DELIVERIES_CHANNEL})
    return delivery
