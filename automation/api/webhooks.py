"""Signed webhooks: the door through which Studio tells us what happened."""

import logging

from fastapi import APIRouter, BackgroundTasks
from pydantic import SecretStr
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError
from starlette.requests import Request

from automation.api.bodies import read_json
from automation.api.events import EVENT_SCHEMA, EventsOut, json_body, take_in
from automation.api.problems import documented
from automation.api.services import ServicesOf
from automation.errors import BadSignatureError
from automation.intake import parse_event

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

log = logging.getLogger(__name__)


@router.post(
    "/studio/",
    status_code=202,
    responses=documented(401, 413, 422, 503),
    openapi_extra=json_body(EVENT_SCHEMA),
)
async def studio_webhook(request: Request, services: ServicesOf, background: BackgroundTasks) -> EventsOut:
    """Take in one event, signed as Standard Webhooks says (`webhook-id`, `webhook-timestamp`,
    `webhook-signature`). An event without an `id` gets the webhook's, so that one sent again is a duplicate.
    """
    verify(await request.body(), dict(request.headers), services.settings.studio_webhook_secret)
    webhook_id = request.headers["webhook-id"]
    event = await read_json(request, lambda raw: parse_event(raw, id=webhook_id))
    return await take_in(services, background, [event], source="studio")


def verify(body: bytes, headers: dict[str, str], secret: SecretStr | None) -> None:
    """Check a Standard Webhooks signature; one older or newer than five minutes counts as none.

    Raises:
        BadSignatureError: it is missing, wrong, or too old.
    """
    try:
        webhook = Webhook(secret.get_secret_value() if secret else "")
    except (ValueError, EmptyWebhookSecretError):
        log.error("A webhook was refused: AUTOMATION_STUDIO_WEBHOOK_SECRET is not set, or is no `whsec_…`.")
        raise BadSignatureError("The signature cannot be checked: no usable secret is configured.") from None
    try:
        webhook.verify(body, headers, json_parse=False)
    except WebhookVerificationError as error:
        raise BadSignatureError(f"The webhook's signature was refused: {error}.") from None
    except ValueError:  # what the package does not catch: bad base64, a signature without its version
        raise BadSignatureError("The webhook's signature was refused: it cannot be read.") from None
