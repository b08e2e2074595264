"""Who calls, and what they may: the bearer key of a request, its scopes and its project.

    read           every GET
    execute        read, and: run workflows and steps, publish, retry, cancel, approve, replay, redrive, redeliver,
                   acknowledge, silence
    manage         execute, and: create, change and delete workflows, steps, triggers, integrations, projects
    events:write   tell what happened, and nothing else; of the others only `admin` may do that too
    admin          all of it, and: API keys, the audit

A key that is restricted to a project finds nothing outside of it: what belongs to another project, or to the platform
as a whole, is answered like what is not there, and left out of lists.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation.api.limits import Limit
from automation.api.problems import address_of
from automation.api.services import Services, ServicesOf
from automation.errors import ForbiddenError, NotFoundError, RefusedError, ThrottledError, UnauthorizedError
from automation.models import ApiKey, Base, utc_now
from automation.models.access_queries import used_key
from automation.settings import Settings

START_UP = "api"
"""The name under which the key in AUTOMATION_API_KEY is recorded; no other key gets it."""

GRANTS: dict[str, frozenset[str]] = {
    "events:write": frozenset({"events:write"}),
    "read": frozenset({"read"}),
    "execute": frozenset({"read", "execute"}),
    "manage": frozenset({"read", "execute", "manage"}),
    "admin": frozenset({"events:write", "read", "execute", "manage", "admin"}),
}
"""Each scope that a key can be given, and what it may do then."""

NO_PROJECT = ""
"""No project has this id."""

PREFIX = "ak_"

_bearer = HTTPBearer(auto_error=False, description="A key of `api-keys`, or the one in AUTOMATION_API_KEY.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request. `scopes` has what they imply; `project_id` is None for a key that sees all projects."""

    key_id: UUID | None
    name: str
    scopes: frozenset[str]
    project_id: str | None

    @property
    def only(self) -> str | None:
        """The project that lists are narrowed to, or None."""
        return self.project_id

    def among(self, project_id: str | None) -> str | None:
        """The project that a list is narrowed to when it is asked for that of `project_id` (None: for all): one that
        is not there if the key may not see it."""
        if self.only is None or project_id == self.only:
            return project_id
        return self.only if project_id is None else NO_PROJECT

    def require_project(self, project_id: str | None, missing: str = "") -> None:
        """Raise NotFoundError, saying `missing`, unless the key may see this project (None: the whole platform)."""
        if self.only is not None and project_id != self.only:
            raise NotFoundError(missing or f"Project {project_id} does not exist.")

    async def require(self, session: AsyncSession, model: type[Base], id: object, missing: str = "") -> None:
        """Refuse a row of another project as if it were not there; one that is not there is left to who reads it.

        Args:
            model: has a `project_id`.
            missing: what is said of one that is not there; by default "Execution … does not exist."

        Raises:
            NotFoundError: the key may not see it.
        """
        if self.only is None:
            return
        of = await session.scalar(select(model.__table__.c.project_id).where(inspect(model).primary_key[0] == id))
        self.require_project(of, missing or f"{model.__name__} {id} does not exist.")

    def place(self, project_id: str | None) -> None:
        """Refuse to put something new, or what happened, where the key may not see it.

        Raises:
            RefusedError: it is for the whole platform.
            NotFoundError: it is for another project.
        """
        if self.only is not None and project_id is None:
            raise RefusedError("project_id: give it; this key is for one project only", "project_id")
        self.require_project(project_id)


STARTER = Caller(None, START_UP, GRANTS["admin"], None)
"""Who has the key in AUTOMATION_API_KEY."""


def hashed(key: str) -> bytes:
    """What is stored of a key, and what it is found by."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


async def _caller(
    request: Request, services: ServicesOf, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Whose key a request carries.

    Raises:
        UnauthorizedError: it carries none that is in force.
        ThrottledError: too many came with it.
    """
    if given is None:
        raise UnauthorizedError("This needs the header `Authorization: Bearer <key>`.")
    return await caller_with(request, services, given.credentials)


async def caller_with(request: Request, services: Services, credentials: str) -> Caller:
    """Whose key this is, however the request brings it.

    Raises:
        UnauthorizedError: it is none that is in force.
        ThrottledError: too many requests came with it.
    """
    limit: Limit = request.app.state.limit
    digest = hashed(credentials)
    if is_start_up(digest, services.settings):
        throttle(limit, digest)
        return STARTER
    if limit.knows(digest):
        throttle(limit, digest)
    elif wait := request.app.state.refusals.wait(address_of(request)):
        # who guesses is not looked up any more; who was known before is let in all the same
        raise ThrottledError("Too many wrong keys came from this address.", wait)
    caller = caller_of(await _looked_up(services, credentials, digest))
    if not limit.knows(digest):
        throttle(limit, digest)
    return caller


def caller_of(key: ApiKey) -> Caller:
    """Who has this key.

    Raises:
        UnauthorizedError: it was revoked, or is over.
    """
    if key.revoked_at is not None:
        raise UnauthorizedError(f"The key {key.name!r} was revoked.")
    if key.expires_at is not None and key.expires_at <= utc_now():
        raise UnauthorizedError(f"The key {key.name!r} is over since {key.expires_at:%Y-%m-%d %H:%M} UTC.")
    granted = frozenset[str]().union(*(GRANTS.get(scope, frozenset()) for scope in key.scopes))
    return Caller(key.id, key.name, granted, key.project_id)


def allow(scope: str) -> Any:
    """For a route's parameter: the caller, whose key has to have this scope; `Reader` and the like are made of it.

    It raises UnauthorizedError (401), ForbiddenError (403) and ThrottledError (429); `problems.keyed` documents them.
    """
    assert scope in GRANTS, scope

    async def allowed(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        require_scope(caller, scope)
        return caller

    return Depends(allowed)


def require_scope(caller: Caller, scope: str) -> None:
    """Raise ForbiddenError unless the caller's key has this scope."""
    if scope not in caller.scopes:
        raise ForbiddenError(f"This needs a key with the scope {scope!r}; that of {caller.name!r} has it not.")


Reader = Annotated[Caller, allow("read")]
Teller = Annotated[Caller, allow("events:write")]
Executor = Annotated[Caller, allow("execute")]
Manager = Annotated[Caller, allow("manage")]
Admin = Annotated[Caller, allow("admin")]


def is_start_up(digest: bytes, settings: Settings) -> bool:
    """Whether this is the hash of the key in AUTOMATION_API_KEY."""
    key = settings.api_key
    expected = key.get_secret_value() if key else ""
    return bool(expected) and hmac.compare_digest(digest, hashed(expected))


def throttle(limit: Limit, digest: bytes) -> None:
    """Count a request of a key, or raise ThrottledError."""
    if wait := limit.take(digest):
        raise ThrottledError("This key sends more requests than AUTOMATION_RATE_LIMIT allows.", wait)


async def _looked_up(services: Services, credentials: str, digest: bytes) -> ApiKey:
    key = None
    if credentials.startswith(PREFIX):
        async with services.database.transaction() as session:
            key = await used_key(session, digest)
    if key is None or not hmac.compare_digest(key.key_hash, digest):
        raise UnauthorizedError("This key is none of ours.")
    return key
