"""The step that calls a system outside under its own credentials, which no workflow ever holds."""

import time
from typing import Any

from pydantic import Field

from automation.errors import ValidationError
from automation.foundation.mail import compose, is_address
from automation.integrations import apprise, smtp, sql
from automation.integrations.call import Called, called
from automation.integrations.proofs import AppriseCredentials, LoginCredentials, WebhookCredentials
from automation.integrations.scrub import scrubbed, scrubbed_error
from automation.integrations.types import (
    AppriseConfig,
    HttpConfig,
    SmtpConfig,
    SqlConfig,
    WebhookConfig,
    auth_headers,
    below,
)
from automation.models import Json
from automation.steps import Result, StepConfig, StepContext, step
from tasks.http import HttpRequestConfig, Message, Request, SendWebhookConfig, http_request, send_webhook


class CallIntegrationConfig(Request, Message):
    """`integration`: an id or a name. The other keys are those of its type; one of another type fails the step."""

    integration: str = Field(min_length=1, max_length=200)
    path: str = ""
    to: str = ""
    subject: str = ""
    text: str = ""
    title: str = ""
    statement: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


_REQUEST = {"path", "headers", *Request.model_fields}
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "http": (_REQUEST, set()),
    "webhook": ({"headers", "payload", "type"}, set()),
    "smtp": ({"to", "subject", "text"}, {"to", "text"}),
    "apprise": ({"title", "body"}, {"body"}),
    "sql": ({"statement", "parameters"}, {"statement"}),
}
"""Which keys each type knows, and which of them it needs."""


@step("CALL_INTEGRATION")
async def call_integration(step: StepContext, config: CallIntegrationConfig) -> Result:
    """Call an integration of the project, or of the platform, with its credentials as they are now.

    HTTP methods that change something carry `Idempotency-Key`, webhooks `webhook-id`, e-mails a Message-ID, the same at
    each try; a statement finds the step's key as `:idempotency_key`; Apprise has nothing of the kind.

    Returns:
        http: as HTTP_REQUEST; webhook: as SEND_WEBHOOK; smtp: {"to", "message_id"}; apprise: {"service"};
        sql: {"rows", "row_count", "truncated"}. Each with "integration" and "duration_ms", and without the
        credentials, should the other side have repeated them.

    Raises:
        ValidationError: there is no such integration, its address is refused, or the other side refuses for good.
        NetworkError: the other side, or Prefect, which keeps the credentials, cannot be reached.
        DatabaseError: the database refused for now.
    """
    integration = await called(step, config.integration)
    given = _given(config, integration.config.name)
    secrets = integration.credentials.spellings() if integration.credentials else []
    began = time.perf_counter()
    try:
        result = await _call(step, integration, given)
    except Exception as error:
        raise scrubbed_error(error, secrets) from None
    result.setdefault("duration_ms", round((time.perf_counter() - began) * 1000, 3))
    clean: Result = scrubbed(result, secrets)
    step.log(f"Called the integration {integration.name!r} ({integration.config.name}).")
    return {"integration": str(integration.id)} | clean


def _given(config: CallIntegrationConfig, type_: str) -> Json:
    """The keys that the step has, if they are those of the type."""
    known, needed = _KEYS[type_]
    keys = config.model_fields_set - {"integration"}
    if unknown := sorted(key.rstrip("_") for key in keys - known):
        raise ValidationError(f"{', '.join(unknown)}: not for an integration of type {type_}")
    if missing := sorted(needed - keys):
        raise ValidationError(f"{', '.join(missing)}: needed for an integration of type {type_}")
    return config.model_dump(include=keys, by_alias=True)


async def _call(step: StepContext, integration: Called, given: Json) -> Result:
    match integration.config, integration.credentials:
        case HttpConfig() as config, credentials:
            given["url"] = below(config.base_url, given.pop("path", ""))
            ours = auth_headers(config, credentials)
            theirs = {name: value for name, value in given.get("headers", {}).items() if name.lower() not in ours}
            return await _as_is(http_request, step, HttpRequestConfig(**given | {"headers": theirs | ours}))
        case WebhookConfig() as config, WebhookCredentials() as credentials:
            return await _as_is(
                send_webhook, step, SendWebhookConfig(url=config.url, secret=credentials.secret, **given)
            )
        case SmtpConfig() as config, LoginCredentials() | None as credentials:
            return await _mail(step, config, credentials, **given)
        case AppriseConfig(), AppriseCredentials() as credentials:
            return {"service": await apprise.send(step.settings, credentials, given.get("title", ""), given["body"])}
        case SqlConfig() as config, LoginCredentials() as credentials:
            parameters = {"idempotency_key": step.idempotency_key} | given.get("parameters", {})
            return await sql.execute(step.settings, config, credentials, given["statement"], parameters)
    raise AssertionError(integration.config.name)


async def _as_is(step_type: Any, step: StepContext, config: StepConfig) -> Result:
    """What another step type does; it has its own key, and its line in the log names no more than the host."""
    result: Result = await step_type.function(step, config)
    return result


async def _mail(
    step: StepContext, config: SmtpConfig, credentials: LoginCredentials | None, to: str, text: str, subject: str = ""
) -> Result:
    if not is_address(to):
        raise ValidationError(f"to: {to[:100]!r} is not one e-mail address")
    message = compose(sender=config.sender, to=to, subject=subject, body=text, idempotency_key=step.idempotency_key)
    await smtp.send(step.settings, config, credentials, message)
    return {"to": to, "message_id": message["Message-ID"]}
