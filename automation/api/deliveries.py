"""Deliveries: what Studio, or whoever listens to alerts, was told, and telling it again."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import Executor, Reader
from automation.api.filters import ProjectFilter
from automation.api.idempotency import OnceOf
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.callback import tell
from automation.models import Delivery
from automation.models.recovery_queries import list_deliveries
from automation.redaction import RedactedText

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

DeliveryStatus = Literal["PENDING", "DELIVERED", "FAILED"]
DeliveryType = Literal[
    "workflows.ready",
    "execution.completed",
    "execution.failed",
    "execution.cancelled",
    "alert.firing",
    "alert.resolved",
]


class DeliveryOut(BaseModel):
    """A signed webhook to Studio, or to who is told of alerts; its id is the header `webhook-id`."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    type: str
    alert_id: UUID | None
    execution_id: UUID | None
    project_id: str | None
    status: str
    attempts: int
    due_at: datetime = Field(description="While it is PENDING: when it is sent next.")
    last_status: int | None = Field(description="What was answered last; null when nothing came back.")
    last_error: RedactedText
    created_at: datetime
    delivered_at: datetime | None


@router.get("/", responses=keyed(422))
async def get_deliveries(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    status: DeliveryStatus | None = None,
    type: DeliveryType | None = None,
    project_id: ProjectFilter = None,
    execution_id: UUID | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[DeliveryOut]:
    """Deliveries, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_deliveries(
            session,
            status=status,
            type=type,
            project_id=caller.among(project_id),
            execution_id=execution_id,
            position=position,
            size=page_size,
        )
    return listing(request, page, (DeliveryOut.model_validate(one) for (one,) in page.rows))


@router.post("/{id}/redeliver/", status_code=202, responses=keyed(404, 409, 422))
async def redeliver(id: UUID, caller: Executor, services: ServicesOf, once: OnceOf) -> DeliveryOut:
    """Send a delivery now, under its old id; what it tells is read anew."""

    async def send() -> DeliveryOut:
        delivery = DeliveryOut.model_validate(await tell.redeliver(session, services.settings, id))
        after = delivery.model_dump(mode="json", include={"status", "attempts", "type", "execution_id"})
        await note(session, caller, "redeliver", "delivery", id, delivery.project_id, None, after)
        return delivery

    async with services.database.transaction() as session:
        await caller.require(session, Delivery, id)
        return await once(session, caller, DeliveryOut, send)
