"""Where credentials lie: one block of Prefect's for each integration, `automation-integration-<id>`, encrypted there.

A `sql` integration has a connector of prefect-sqlalchemy, which other flows can load too; each other one a Secret that
holds JSON. A block says whom its credentials are meant for, so that they are not sent elsewhere when a process dies
between the writing of a block and of its row.

A block is written at the end of the transaction that writes its row: when Prefect is away, there is neither. Only what
fails in the moments before the commit leaves a block without a row, as does the deletion of a project with all its
rows; `sweep.py` removes those.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import orjson
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect_sqlalchemy import AsyncDriver, AsyncSqlAlchemyConnector, ConnectionComponents

from automation.errors import NotFoundError, UnavailableError
from automation.integrations.proofs import Credentials, LoginCredentials
from automation.integrations.types import Config, SqlConfig

BLOCK_PREFIX = "automation-integration-"
FRESH = 60.0
"""Seconds for which a process that calls may use what it has read."""

_PATIENCE = 10.0  # seconds for Prefect to answer
_cache: dict[tuple[UUID, datetime], tuple[float, Credentials]] = {}

log = logging.getLogger(__name__)


async def store(prefect: PrefectClient, id: UUID, config: Config, credentials: Credentials) -> None:
    """Write the credentials of an integration, in place of what is there.

    Raises:
        UnavailableError: Prefect does not answer.
    """
    async with _asking():
        await _block(config, credentials).asave(_name(id), overwrite=True, client=prefect)


async def remove(prefect: PrefectClient, id: UUID, type_: str) -> None:
    """Delete the credentials of an integration, if there are any.

    Raises:
        UnavailableError: Prefect does not answer.
    """
    async with _asking():
        with suppress(ObjectNotFound):
            document = await prefect.read_block_document_by_name(_name(id), _slug(type_), include_secrets=False)
            await prefect.delete_block_document(document.id)


async def load(prefect: PrefectClient, id: UUID, config: Config) -> Credentials | None:
    """The credentials of an integration; None for one that needs none.

    Raises:
        NotFoundError: there are none, or they are meant for somewhere else.
        UnavailableError: Prefect does not answer.
    """
    model = config.credentials_model
    if model is None:
        return None
    async with _asking():
        try:
            document = await prefect.read_block_document_by_name(_name(id), _slug(config.name), include_secrets=True)
        except ObjectNotFound:
            raise NotFoundError("Its credentials are missing; write them again.") from None
    try:
        destination, values = _content(config, document.data)
        found = model.model_validate(values)
    except (KeyError, TypeError, ValueError):  # pydantic's is one; somebody has changed the block in Prefect
        raise NotFoundError("Its credentials cannot be read; write them again.") from None
    if destination != config.destination:
        raise NotFoundError("Its credentials were given for another address; write them again.")
    return found


async def recent(id: UUID, updated_at: datetime, config: Config) -> Credentials | None:
    """The same for who calls often: at most a minute old, and never older than the row's last change.

    Raises:
        NotFoundError, UnavailableError: as `load`.
    """
    now = time.monotonic()
    for key in [key for key, (until, _) in _cache.items() if until <= now]:
        del _cache[key]
    if cached := _cache.get((id, updated_at)):
        return cached[1]
    async with get_client() as prefect:
        found = await load(prefect, id, config)
    if found:
        _cache[id, updated_at] = (now + FRESH, found)
    return found


async def stored_before(prefect: PrefectClient, moment: datetime) -> dict[UUID, UUID]:
    """The blocks that are older than that: the integration of each, by the block's id.

    Raises:
        UnavailableError: Prefect does not answer.
    """
    found = {}
    async with _asking():
        for kind in (Secret, AsyncSqlAlchemyConnector):
            for document in await _of_kind(prefect, kind.get_block_type_slug()):
                id_ = _integration(document.name or "")
                if id_ and document.created and document.created < moment:
                    found[document.id] = id_
    return found


async def remove_block(prefect: PrefectClient, block_id: UUID) -> None:
    """Delete one block of `stored_before`; another process may have been faster."""
    async with _asking():
        with suppress(ObjectNotFound):
            await prefect.delete_block_document(block_id)


async def _of_kind(prefect: PrefectClient, slug: str) -> list[Any]:
    try:
        return await prefect.read_block_documents_by_type(slug, include_secrets=False)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 404:  # nobody has stored one yet
            return []
        raise


def _name(id: UUID) -> str:
    return f"{BLOCK_PREFIX}{id}"


def _integration(name: str) -> UUID | None:
    try:
        return UUID(name.removeprefix(BLOCK_PREFIX)) if name.startswith(BLOCK_PREFIX) else None
    except ValueError:
        return None


def _slug(type_: str) -> str:
    kind = AsyncSqlAlchemyConnector if type_ == SqlConfig.name else Secret
    slug: str = kind.get_block_type_slug()
    return slug


def _block(config: Config, credentials: Credentials) -> Block:
    if isinstance(config, SqlConfig) and isinstance(credentials, LoginCredentials):
        components = ConnectionComponents(
            driver=AsyncDriver.POSTGRESQL_ASYNCPG,
            username=credentials.username,
            password=credentials.password,
            host=config.host,
            port=config.port,
            database=config.database,
        )
        connector: Block = AsyncSqlAlchemyConnector(connection_info=components, connect_args={"ssl": config.sslmode})
        return connector
    content = {"destination": config.destination, "credentials": dict(credentials)}
    return Secret(value=orjson.dumps(content, default=_revealed).decode())


def _revealed(value: Any) -> str:
    text: str = value.get_secret_value()
    return text


def _content(config: Config, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """For whom the credentials of a block are meant, and what they are."""
    if not isinstance(config, SqlConfig):
        content = orjson.loads(data["value"])
        return content["destination"], content["credentials"]
    parts = data["connection_info"]
    meant = SqlConfig(
        host=parts["host"], port=parts["port"], database=parts["database"], sslmode=data["connect_args"]["ssl"]
    )
    return meant.destination, {"username": parts["username"], "password": parts["password"]}


@asynccontextmanager
async def _asking() -> AsyncIterator[None]:
    """Nothing of Prefect's own error is told: it repeats the body that it refuses."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except (httpx.HTTPError, PrefectException, OSError, TimeoutError) as error:
        log.warning("Prefect does not answer when asked for a block: %s", type(error).__name__)
        raise UnavailableError(
            "Prefect, which keeps the credentials, does not answer at the moment; nothing was changed. Try again."
        ) from None
