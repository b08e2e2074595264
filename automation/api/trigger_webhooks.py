"""Webhooks of triggers: the door at which a sender's deliveries fire one trigger, and its secrets."""

import asyncio
import hashlib
import logging
import re
from datetime import timedelta
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Response
from pydantic import BaseModel
from starlette.requests import Request

from automation.api.auth import Manager
from automation.api.bodies import parse_json, read_json
from automation.api.events import EventsOut, events_out, json_body
from automation.api.idempotency import OnceOf
from automation.api.problems import documented, keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.errors import BadSignatureError, RefusedError
from automation.intake import PastEvent, accept_for
from automation.models import Trigger, utc_now
from automation.models.trigger_queries import WebhookTrigger, add_secret, find_webhook, lock_webhook, valid_secrets
from automation.triggers.signatures import Delivery, check_secret, make_secret, verify

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
secret_router = APIRouter(prefix="/triggers", tags=["triggers"])

EVENT_TYPE = "webhook.received"

_FORM = "application/x-www-form-urlencoded"
_PLAIN_ID = re.compile(r"[\x21-\x7e]{1,155}")
_SECRET_SCHEMA = {"type": "object", "properties": {"secret": {"type": "string"}}, "additionalProperties": False}

log = logging.getLogger(__name__)


class SecretOut(BaseModel):
    """A trigger's new secret; it is told this once."""

    secret: str


@router.post(
    "/{trigger_id}/",
    status_code=202,
    responses={
        200: {"description": "A delivery seen before; nothing ran.", "model": EventsOut},
        **documented(401, 404, 413, 422, 429, 503),
    },
    openapi_extra=json_body({}),
)
async def receive_webhook(
    trigger_id: UUID, request: Request, response: Response, services: ServicesOf, background: BackgroundTasks
) -> EventsOut:
    """Fire a WEBHOOK trigger with any JSON, signed as its `scheme` says; a delivery seen before runs nothing.

    What is in an object becomes the event's `data`, any other value its `data.body`.
    """
    async with services.database.transaction() as session:
        trigger = await find_webhook(session, trigger_id)
        secrets = await valid_secrets(session, trigger_id, utc_now())
    body = await request.body()
    try:
        delivery = await asyncio.to_thread(verify, trigger.scheme, body, request.headers, secrets, utc_now())
    except BadSignatureError as error:
        log.warning("A delivery for trigger %s was refused: %s", trigger_id, error)
        raise
    # of the others nobody sends forms, though curl says that it does
    content_type = request.headers.get("content-type", "") if trigger.scheme == "github" else ""
    value = await asyncio.to_thread(parse_body, body, content_type)
    event = webhook_event(trigger_id, trigger, delivery, value)
    answer = await accept_for(services.database, trigger_id, event, source="webhook", settings=services.settings)
    if answer.duplicate:
        response.status_code = 200
    background.add_task(services.announcer.accepted, [answer])
    return events_out([answer])


def parse_body(body: bytes, content_type: str) -> object:
    """The JSON of a delivery; GitHub may send it as the field `payload` of a form.

    Raises:
        RefusedError: it is no JSON.
    """
    if content_type.partition(";")[0].strip().lower() == _FORM:
        try:
            fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
        except ValueError:
            fields = {}
        if len(fields.get("payload", ())) != 1:
            raise RefusedError("The body is a form without one field `payload`; send JSON.")
        body = fields["payload"][0].encode()
    return parse_json(body)


def webhook_event(trigger_id: UUID, trigger: WebhookTrigger, delivery: Delivery, value: object) -> PastEvent:
    """The event of a delivery, its id made of the sender's: one too long or no plain text is hashed."""
    id_ = delivery.id if _PLAIN_ID.fullmatch(delivery.id) else hashlib.sha256(delivery.id.encode()).hexdigest()
    data = {
        **(value if isinstance(value, dict) else {"body": value}),
        "project_id": trigger.project_id,
        "webhook": {"id": delivery.id, "event": delivery.event, "scheme": trigger.scheme},
    }
    return PastEvent(f"webhook:{trigger_id}:{id_}", EVENT_TYPE, trigger.project_id, data, utc_now())


@secret_router.post(
    "/{id}/secret/",
    status_code=201,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(_SECRET_SCHEMA, required=False),
)
async def change_secret(id: UUID, request: Request, caller: Manager, services: ServicesOf, once: OnceOf) -> SecretOut:
    """Give a WEBHOOK trigger its next secret: the given one, such as Stripe makes, or a new one of ours.

    The one before stays valid for AUTOMATION_WEBHOOK_SECRET_OVERLAP seconds, so that the sender can change over.
    """
    given = await read_json(request, parse_secret) if await request.body() else None

    async def change() -> SecretOut:
        trigger = await lock_webhook(session, id)
        if given is not None:
            check_secret(trigger.scheme, given, "secret")
        secret = make_secret(trigger.scheme) if given is None else given
        await add_secret(session, id, secret, timedelta(seconds=services.settings.webhook_secret_overlap))
        await note(session, caller, "change-secret", "trigger", id, trigger.project_id or None)
        return SecretOut(secret=secret)

    async with services.database.transaction() as session:
        await caller.require(session, Trigger, id)
        return await once(session, caller, SecretOut, change)


def parse_secret(raw: object) -> str | None:
    """The secret in `{"secret": "…"}`; None when there is none.

    Raises:
        RefusedError: the body has another shape.
    """
    if not isinstance(raw, dict):
        raise RefusedError(f"body: expected an object, got {type(raw).__name__}")
    if unknown := sorted(set(raw) - {"secret"}):
        raise RefusedError(f'{unknown[0]}: not known here; the body is {{"secret": "…"}}', unknown[0])
    secret = raw.get("secret")
    if secret is not None and not isinstance(secret, str):
        raise RefusedError(f"secret: expected a string, got {type(secret).__name__}", "secret")
    return secret
