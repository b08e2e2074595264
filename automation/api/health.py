"""Health, for whoever starts and watches this process; no key needed."""

import asyncio
import logging
from collections.abc import Awaitable

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from automation.api.problems import documented, problem
from automation.api.services import Services, ServicesOf

router = APIRouter(prefix="/health", tags=["health"])

_PATIENCE = 2.0
"""Seconds that a part may take to answer; what asks us waits about five."""

log = logging.getLogger(__name__)


class HealthOut(BaseModel):
    """`live` or `ready`."""

    status: str


@router.get("/live/")
async def live() -> HealthOut:
    """This process answers."""
    return HealthOut(status="live")


@router.get("/ready/", response_model=HealthOut, responses=documented(503))
async def ready(services: ServicesOf) -> HealthOut | JSONResponse:
    """Database and Prefect's API answer as well; else 503, with `missing` as the list of what does not."""
    parts = {"database": _database(services), "prefect": _prefect(services)}
    answers = await asyncio.gather(*(_answers(name, ask) for name, ask in parts.items()))
    missing = [name for name, there in zip(parts, answers, strict=True) if not there]
    if missing:
        return problem(503, f"No answer from: {', '.join(missing)}.", missing=missing)
    return HealthOut(status="ready")


async def _answers(name: str, ask: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            await ask
    except Exception as error:  # whatever it is, the part is not there
        log.warning("Not ready, %s: %r", name, error)
        return False
    return True


async def _database(services: Services) -> None:
    async with services.database.transaction() as session:
        await session.connection()  # the pool asks the server before it hands one out


async def _prefect(services: Services) -> None:
    if error := await services.prefect.api_healthcheck():
        raise error
