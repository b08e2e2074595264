"""Steps that ask and tell other systems over HTTP."""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import Message as MimeMessage
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import orjson
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator
from standardwebhooks.webhooks import Webhook

from automation import egress
from automation.errors import RefusedError, ValidationError
from automation.intake.events import storable
from automation.models import utc_now
from automation.steps import Result, StepConfig, StepContext, step
from automation.triggers.signatures import check_secret

_SAFE = ("GET", "HEAD", "OPTIONS")
_SECRET_HEADERS = ("set-cookie", "authorization", "www-authenticate", "proxy-authenticate")
_MAX_HEADERS, _MAX_HEADER = 100, 1000
_CHARSETS = ("iso-8859-1", "iso-8859-15", "windows-1252", "utf-16")  # Python knows others, some of them no charsets
_STATUSES = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")

Scalar = str | int | float | bool


class WithHeaders(StepConfig):
    """What every request takes."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # of a header that is a template

    headers: dict[str, str] = Field(default_factory=dict)


class WithUrl(WithHeaders):
    """A request to an address that the step itself names."""

    url: str


class Request(WithHeaders):
    """`query` joins that of the URL. At most one of `json`, `body` (a text) and `form` is sent. `expect_status`:
    numbers and ranges such as `200-299`; any other answer fails the step."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    query: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    json_: Any = Field(None, alias="json")  # pydantic's models have a `json` of their own
    body: str | None = None
    form: dict[str, Scalar | list[Scalar]] | None = None
    expect_status: list[int | str] = Field(default_factory=lambda: list[int | str](["200-399"]))
    follow_redirects: bool = False
    max_bytes: int = Field(egress.MAX_BYTES, gt=0, le=egress.MAX_BYTES)

    @field_validator("expect_status", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return value if isinstance(value, list) else [value]

    @field_validator("expect_status")
    @classmethod
    def _are_statuses(cls, value: list[int | str]) -> list[int | str]:
        if not value or not all(_STATUSES.fullmatch(str(one)) for one in value):
            raise ValueError("expected numbers and ranges, as [200, 204] or ['200-299']")
        return value

    @model_validator(mode="after")
    def _one_content(self) -> "Request":
        if len({"json_", "body", "form"} & self.model_fields_set) > 1:
            raise ValueError("of json, body and form only one can be sent")
        return self


class HttpRequestConfig(WithUrl, Request):
    """A request, and where to."""


class Message(WithHeaders):
    """`payload`: any JSON, the trigger's data when it is left out; with `type`, in an envelope of type, time and
    data."""

    payload: Any = None
    type: str | None = None


class SendWebhookConfig(WithUrl, Message):
    """`secret`: `whsec_…`, shared with the receiver."""

    secret: SecretStr | None = None

    @field_validator("secret")
    @classmethod
    def _can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            if value is not None:
                check_secret("standard", value.get_secret_value(), "secret")
        except RefusedError as error:
            raise ValueError(str(error).removeprefix("secret: ")) from None
        return value


@step("HTTP_REQUEST")
async def http_request(step: StepContext, config: HttpRequestConfig) -> Result:
    """Send a request, and hand on what was answered.

    A method that changes something carries the step's idempotency key in `Idempotency-Key`, the same at each try, so
    that a receiver that knows this header does it once.

    Returns:
        {"status", "headers", "json" or "text", "duration_ms"}; headers by their names in lower case, without cookies.

    Raises:
        ValidationError: the address is refused, or the answer will be the same again (4xx).
        NetworkError: no answer, or one that may be another later (5xx, 408, 425, 429).
    """
    headers = {name.lower(): value for name, value in config.headers.items()}
    content, content_type = _content(config)
    if content_type:
        headers.setdefault("content-type", content_type)
    if config.method not in _SAFE:
        headers.setdefault("idempotency-key", _token(step))
    answer = await egress.request(
        step.settings,
        config.method,
        _with_query(config),
        headers=headers,
        content=content,
        max_bytes=config.max_bytes,
        follow_redirects=config.follow_redirects,
    )
    egress.require_status(answer, _statuses(config.expect_status))
    duration_ms = round(answer.elapsed * 1000, 3)
    step.log(f"{config.method} {answer.host}: {answer.status}.", status=answer.status, duration_ms=duration_ms)
    shown = {"status": answer.status, "headers": _shown(answer.headers), "duration_ms": duration_ms}
    return shown | await asyncio.to_thread(_body, answer)


@step("SEND_WEBHOOK")
async def send_webhook(step: StepContext, config: SendWebhookConfig) -> Result:
    """Post JSON to another system, signed as Standard Webhooks says when there is a secret.

    Each try has the same `webhook-id` and body, so that the receiver knows a repeat; redirects are not followed.

    Returns:
        {"status", "webhook_id", "duration_ms"}

    Raises:
        ValidationError: the address is refused, the payload is no JSON, or the receiver refuses the message (3xx, 4xx).
        NetworkError: the receiver did not take it now (no answer, 5xx, 408, 425, 429).
    """
    payload = config.payload if "payload" in config.model_fields_set else step.trigger_data
    if config.type is not None:
        # the event's time and not that of this try, since a repeat must be the same
        payload = {"type": config.type, "timestamp": step.occurred_at, "data": payload}
    content, now, id_ = _as_json(payload, "payload"), utc_now(), f"msg_{_token(step)}"
    answer = await egress.request(
        step.settings,
        "POST",
        config.url,
        headers={name.lower(): value for name, value in config.headers.items()}
        | {"content-type": "application/json", "webhook-id": id_, "webhook-timestamp": str(int(now.timestamp()))}
        | _signature(config.secret, id_, now, content),
        content=content,
    )
    egress.require_status(answer)
    duration_ms = round(answer.elapsed * 1000, 3)
    step.log(f"{answer.host} took webhook {id_}.", status=answer.status, duration_ms=duration_ms)
    return {"status": answer.status, "webhook_id": id_, "duration_ms": duration_ms}


def _token(step: StepContext) -> str:
    """The step's idempotency key in characters that fit into any header."""
    return hashlib.sha256(step.idempotency_key.encode()).hexdigest()[:32]


def _signature(secret: SecretStr | None, id_: str, now: datetime, content: bytes) -> dict[str, str]:
    if secret is None:
        return {}
    return {"webhook-signature": Webhook(secret.get_secret_value()).sign(id_, now, content.decode())}


# --- what is sent -------------------------------------------------------------------------------------------


def _with_query(config: HttpRequestConfig) -> str:
    try:
        return str(httpx.URL(config.url).copy_merge_params(config.query)) if config.query else config.url
    except httpx.InvalidURL:
        return config.url  # which egress refuses, and says why


def _content(config: HttpRequestConfig) -> tuple[bytes, str]:
    """The body, and its type."""
    if "json_" in config.model_fields_set:
        return _as_json(config.json_, "json"), "application/json"
    if config.form is not None:
        pairs = httpx.QueryParams(config.form).multi_items()
        return urlencode(pairs, errors="replace").encode(), "application/x-www-form-urlencoded"
    if config.body is not None:
        return config.body.encode(errors="replace"), "text/plain; charset=utf-8"
    return b"", ""


def _as_json(value: Any, key: str) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        raise ValidationError(f"{key}: cannot be written as JSON: {error}.") from None


# --- what came back -----------------------------------------------------------------------------------------


def _statuses(expected: Sequence[int | str]) -> set[int]:
    """`[204, "200-202"]` → {200, 201, 202, 204}"""
    ranges = [_STATUSES.fullmatch(str(one)) for one in expected]
    return {status for one in ranges if one for status in range(int(one[1]), int(one[2] or one[1]) + 1)}


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    kept = [(name, value[:_MAX_HEADER]) for name, value in headers.items() if name not in _SECRET_HEADERS]
    return dict(kept[:_MAX_HEADERS])


def _body(answer: egress.Answer) -> Result:
    """The body as `json` if it says that it is, and is such that it can be stored; else as `text`."""
    described = MimeMessage()
    described["content-type"] = answer.headers.get("content-type", "")
    type_ = described.get_content_type()
    if type_ == "application/json" or type_.endswith("+json"):
        try:
            value = orjson.loads(answer.body)
            storable({"json": value}, "json")
        except (ValueError, RefusedError):
            pass
        else:
            return {"json": value}
    charset = described.get_content_charset("")
    text = answer.body.decode(charset if charset in _CHARSETS else "utf-8", errors="replace")
    return {"text": text.replace("\0", "\ufffd")}
