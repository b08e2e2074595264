"""Creating, changing and deleting integrations: the row, and the block with the credentials, both or neither.

Each function works in its caller's transaction, and writes the block when nothing of it can be refused any more.
"""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import PrefectClient
from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from automation.authoring.checks import check_size
from automation.authoring.shapes import Body, Name, parse
from automation.errors import ConflictError, RefusedError
from automation.intake.events import storable
from automation.intake.projects import ensure_project
from automation.integrations import credentials as blocks
from automation.integrations.types import CONFIGS, Config, parse_config, parse_credentials
from automation.models import Integration, Json
from automation.models.base import utc_now
from automation.models.project_queries import refuse_deleted
from automation.runtime.names import plain_name
from automation.settings import Settings

_CONFIG_SCHEMA: Json = {"anyOf": [model.model_json_schema() for model in CONFIGS.values()]}
_CREDENTIALS: Json = {
    "description": "Written, never answered. What belongs to the type and its `auth`: `token`, `username` and "
    "`password`, `value`, `secret` or `url`. Left out of a change, they stay as they are.",
    "writeOnly": True,
}


class IntegrationPatch(Body):
    """What is to change of an integration; what is left out stays. `config` is given whole."""

    answered = frozenset({"id", "created_at", "updated_at", "last_tested_at", "last_test"})

    name: Name = ""
    type: str = Field("", max_length=50, json_schema_extra={"enum": list(CONFIGS)})
    project_id: str | None = Field(None, max_length=128)
    config: Json = Field(default_factory=dict, json_schema_extra=_CONFIG_SCHEMA)
    credentials: Json | None = Field(None, repr=False, json_schema_extra=_CREDENTIALS)
    is_active: bool = True


class IntegrationBody(IntegrationPatch):
    """A whole integration. Without a `project_id` it is the platform's, for every project to call."""

    name: Name
    type: str = Field(max_length=50, json_schema_extra={"enum": list(CONFIGS)})


def parse_integration(raw: object) -> IntegrationBody:
    """A whole integration, to be created or put in place of another.

    Raises:
        RefusedError: it breaks a rule; the text repeats nothing of the credentials.
    """
    body = parse(IntegrationBody, raw)
    _check(body)
    parse_credentials(parse_config(body.type, body.config), body.credentials)
    return body


def parse_integration_patch(raw: object) -> IntegrationPatch:
    """What is to change of an integration. Whether config and credentials are right, its type decides.

    Raises:
        RefusedError: its shape is wrong.
    """
    body = parse(IntegrationPatch, raw)
    _check(body)
    return body


def _check(body: IntegrationPatch) -> None:
    storable(body.name, "name")
    check_size(body.config, "config")
    if body.project_id is not None:
        plain_name(body.project_id, "project_id")


async def create(
    session: AsyncSession, prefect: PrefectClient, body: IntegrationBody, settings: Settings
) -> Integration:
    """A new integration; a project that nobody has told us of is made with it.

    Raises:
        RefusedError: credentials are missing.
        ConflictError: the name is taken, or the project is being deleted.
        UnavailableError: Prefect, which keeps the credentials, does not answer.
    """
    config = parse_config(body.type, body.config)
    if body.project_id is not None:
        await ensure_project(session, body.project_id, settings)
        await refuse_deleted(session, body.project_id)
    row = Integration(
        name=body.name,
        type=body.type,
        project_id=body.project_id,
        config=body.config,
        is_active=body.is_active,
        last_test={},
    )
    session.add(row)
    await _flush(session, row)
    await _write_credentials(prefect, row, config, None, body.credentials)
    return row


async def change(session: AsyncSession, prefect: PrefectClient, row: Integration, body: IntegrationPatch) -> None:
    """Change what is given of an integration that the caller has locked; of a whole body, everything but credentials
    that it leaves out.

    Raises:
        RefusedError: type and project stay; or credentials are needed for the new config.
        ConflictError: the name is taken.
        UnavailableError: Prefect, which keeps the credentials, does not answer.
    """
    given = body.model_fields_set
    for name in ("type", "project_id"):
        if name in given and getattr(body, name) != getattr(row, name):
            raise RefusedError(f"{name}: stays {getattr(row, name)!r}; create another integration", name)
    before = _as_stored(row)
    columns = ("name", "config", "is_active")
    wanted = {name: getattr(body, name) for name in columns if name in given or isinstance(body, IntegrationBody)}
    config = parse_config(row.type, wanted.get("config", row.config))
    parse_credentials(config, body.credentials)
    for name, value in wanted.items():
        setattr(row, name, value)
    if body.credentials is not None:
        row.updated_at = utc_now()  # those who have the old ones in memory see it by that
    await _flush(session, row)
    await _write_credentials(prefect, row, config, before, body.credentials)


async def delete(session: AsyncSession, prefect: PrefectClient, row: Integration) -> None:
    """Delete an integration and its credentials.

    Raises:
        UnavailableError: Prefect, which keeps the credentials, does not answer; nothing was deleted.
    """
    await session.delete(row)
    await session.flush()
    await blocks.remove(prefect, row.id, row.type)


def _as_stored(row: Integration) -> Config | None:
    """The config that a row has; None if no version of ours would take it any more."""
    try:
        return parse_config(row.type, row.config)
    except RefusedError:
        return None


async def _write_credentials(
    prefect: PrefectClient, row: Integration, config: Config, before: Config | None, given: Mapping[str, Any] | None
) -> None:
    """Bring the block in line with the config: written, left as it is, or deleted.

    Args:
        before: the config that the stored credentials were given for; None: there are none.
    """
    if config.credentials_model is None:
        if before and before.credentials_model:
            await blocks.remove(prefect, row.id, row.type)
        return
    credentials = parse_credentials(config, dict(given) if given is not None else None)
    if credentials:
        await blocks.store(prefect, row.id, config, credentials)
    elif before is None or before.credentials_model is None:
        needed = ", ".join(config.credentials_model.model_fields)
        raise RefusedError(f"credentials: this config needs them ({needed})", "credentials")
    elif before.destination != config.destination:
        raise RefusedError(
            f"credentials: give them again; those stored were given for {before.destination}, and are not sent "
            f"to {config.destination}",
            "credentials",
        )


async def _flush(session: AsyncSession, row: Integration) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        if "uq_integrations_name" not in str(error.orig):
            raise
        where = f"project {row.project_id}" if row.project_id else "the platform"
        raise ConflictError(f"An integration named {row.name!r} is there already, in {where}.") from None
