"""Testing an integration: the harmless thing of its type, within five seconds, and what came of it in words."""

import asyncio
import time
from uuid import uuid4

import orjson
from prefect.client.orchestration import PrefectClient
from standardwebhooks.webhooks import Webhook

from automation import egress
from automation.errors import NotFoundError, RefusedError, UnavailableError
from automation.integrations import apprise, smtp, sql
from automation.integrations.credentials import load
from automation.integrations.proofs import AppriseCredentials, Credentials, LoginCredentials, WebhookCredentials
from automation.integrations.scrub import scrubbed, scrubbed_error
from automation.integrations.types import (
    AppriseConfig,
    Config,
    HttpConfig,
    SmtpConfig,
    SqlConfig,
    WebhookConfig,
    auth_headers,
    below,
    parse_config,
)
from automation.models import Integration, Json, utc_now
from automation.settings import Settings

SECONDS = 5.0

_MAX_BYTES = 64 * 1024
_HEAD_IS_NOT_FOR_IT = (404, 405, 501)  # of a base address, on which there need not be anything
PING = "automation.ping"


async def probe(settings: Settings, prefect: PrefectClient, row: Integration) -> Json:
    """Test an integration.

    Returns:
        {"ok", "saw", "duration_ms"}: whether it works, what was seen, in words, and how long it took.

    Raises:
        UnavailableError: Prefect, which keeps the credentials, does not answer.
    """
    began = time.perf_counter()
    secrets: list[str] = []
    try:
        config = parse_config(row.type, row.config)
        credentials = await load(prefect, row.id, config)
        secrets = credentials.spellings() if credentials else []
        began = time.perf_counter()
        async with asyncio.timeout(SECONDS):
            ok, saw = await _seen(settings, config, credentials)
    except TimeoutError:
        ok, saw = False, f"No answer within {SECONDS:g} s."
    except (NotFoundError, RefusedError) as error:
        ok, saw = False, str(error)
    except UnavailableError:
        raise
    except Exception as error:
        ok, saw = False, str(scrubbed_error(error, secrets))
    return {
        "ok": ok,
        "saw": scrubbed(saw, secrets)[:1000],
        "duration_ms": round((time.perf_counter() - began) * 1000, 3),
    }


async def _seen(settings: Settings, config: Config, credentials: Credentials | None) -> tuple[bool, str]:
    match config, credentials:
        case HttpConfig(), _:
            return await _http(settings, config, credentials)
        case WebhookConfig(), WebhookCredentials():
            return await _webhook(settings, config, credentials)
        case SmtpConfig(), LoginCredentials() | None:
            return True, f"NOOP: {await smtp.greet(settings, config, credentials, SECONDS)}"
        case AppriseConfig(), AppriseCredentials():
            return True, f"The URL is one of {await apprise.check(credentials)}. It was only read; nobody was told."
        case SqlConfig(), LoginCredentials():
            found = await sql.execute(settings, config, credentials, "SELECT 1 AS one", {}, seconds=SECONDS)
            return True, f"SELECT 1: {found['rows'][0]['one']}"
    raise AssertionError(config.name)


async def _http(settings: Settings, config: HttpConfig, credentials: Credentials | None) -> tuple[bool, str]:
    method = "GET" if config.probe_path else "HEAD"
    url = below(config.base_url, config.probe_path)
    headers = auth_headers(config, credentials)
    answer = await egress.request(settings, method, url, headers=headers, seconds=SECONDS, max_bytes=_MAX_BYTES)
    saw = f"{method} {config.probe_path or config.base_url}: {answer.status}"
    if method == "HEAD" and answer.status in _HEAD_IS_NOT_FOR_IT:
        return True, f"{saw}. Somebody answers; set probe_path to test more."
    return answer.status < 400, saw


async def _webhook(settings: Settings, config: WebhookConfig, credentials: WebhookCredentials) -> tuple[bool, str]:
    now, id_ = utc_now(), f"msg_ping_{uuid4().hex}"
    content = orjson.dumps({"type": PING, "timestamp": now, "data": {}}, option=orjson.OPT_UTC_Z)
    signature = Webhook(credentials.secret.get_secret_value()).sign(id_, now, content.decode())
    headers = {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    answer = await egress.request(
        settings, "POST", config.url, headers=headers, content=content, seconds=SECONDS, max_bytes=_MAX_BYTES
    )
    return answer.status in egress.SUCCESS, f"{PING}: {answer.status}"
