"""Signed webhooks: the door through which Studio tells us what happened."""

import logging
from collections.abc import Mapping

from fastapi import APIRouter, BackgroundTasks
from pydantic import SecretStr
from starlette.requests import Request

from automation.api.bodies import read_json
from automation.api.events import EVENT_SCHEMA, EventsOut, events_out, json_body
from automation.api.problems import documented
from automation.api.services import ServicesOf
from automation.errors import BadSignatureError
from automation.intake import accept, parse_event
from automation.models import utc_now
from automation.triggers import signatures

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

log = logging.getLogger(__name__)


@router.post(
    "/studio/",
    status_code=202,
    responses=documented(401, 413, 422, 429, 503),
    openapi_extra=json_body(EVENT_SCHEMA),
)
async def studio_webhook(request: Request, services: ServicesOf, background: BackgroundTasks) -> EventsOut:
    """Take in one event, signed as Standard Webhooks says (`webhook-id`, `webhook-timestamp`,
    `webhook-signature`). An event without an `id` gets the webhook's, so that one sent again is a duplicate.
    """
    webhook_id = verify(await request.body(), request.headers, services.settings.studio_webhook_secret)
    event = await read_json(request, lambda raw: parse_event(raw, id=webhook_id))
    answers = await accept(services.database, [event], source="studio", settings=services.settings)
    background.add_task(services.announcer.accepted, answers)
    return events_out(answers)


def verify(body: bytes, headers: Mapping[str, str], secret: SecretStr | None) -> str:
    """Check Studio's signature.

    Returns:
        The webhook's id.

    Raises:
        BadSignatureError: it is missing, wrong, or more than five minutes old.
    """
    try:
        key = secret.get_secret_value() if secret else ""
        signatures.standard_key(key)
    except ValueError:
        log.error("A webhook was refused: AUTOMATION_STUDIO_WEBHOOK_SECRET is not set, or is no `whsec_…`.")
        raise BadSignatureError("The signature cannot be checked: no usable secret is configured.") from None
    return signatures.verify("standard", body, headers, [key], utc_now()).id
