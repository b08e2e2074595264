"""What the routes need of this process, and how they get it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from prefect.client.orchestration import PrefectClient
from starlette.requests import HTTPConnection

from automation.database import Database
from automation.intake import Announcer
from automation.intake.telling import Teller
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one installation that the API works with; who made them closes them."""

    settings: Settings
    database: Database
    prefect: PrefectClient
    teller: Teller

    @property
    def announcer(self) -> Announcer:
        """How this process tells Prefect of what it took in."""
        return Announcer(self.prefect, self.teller)


async def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]
"""The type of a route's parameter that gets the `Services`."""
