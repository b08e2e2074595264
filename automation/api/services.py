"""What the routes need of this process, and how they get it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from prefect.client.orchestration import PrefectClient
from starlette.requests import HTTPConnection

from automation.database import Database
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one installation that the API works with; who made them closes them."""

    settings: Settings
    database: Database
    prefect: PrefectClient


async def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]
"""The type of a route's parameter that gets the `Services`."""
