"""Telling Prefect of a rare event, so that the trigger of a deployment starts its flow.

The event's resource is `automation.event.<id>`: by that the deployment `studio-events`, which takes in the
`studio.*` events of other senders, knows that this one has been through the intake.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient

from automation.intake.accept import Accepted
from automation.intake.events import HasHappened
from automation.intake.telling import Teller
from automation.models import Json
from automation.prefect_events import EVENT, PROJECT, prefect_event, related, send

PREFIX = "studio."


def announcement(accepted: Accepted) -> Json:
    """The Prefect event of an accepted one: `studio.<type>`, with the execution ids of each kind."""
    event = accepted.event
    kinds: dict[str, list[str]] = {}
    for one in accepted.executions:
        kinds.setdefault(one.kind, []).append(str(one.id))
    return prefect_event(
        PREFIX + event.type,
        EVENT + event.id,
        event.type,
        labels={"automation.kinds": ",".join(sorted(kinds)) or "none"},
        related=[related("project", PROJECT + event.project_id)],
        payload={"event_id": event.id, "project_id": event.project_id, "executions": kinds},
    )


async def announce(client: PrefectClient, answers: Sequence[Accepted], teller: Teller | None = None) -> None:
    """Emit the Prefect events of what was just accepted, after its commit, in one call.

    Losing them is no harm (the dispatcher starts what nobody claimed), so a failure is only logged.

    Args:
        teller: adds what it admits of the decisions; without one only what starts runs is told.
    """
    announcements = [announcement(one) for one in answers if one.announce]
    await send(client, announcements + (teller.told(answers) if teller else []))


@dataclass(frozen=True, slots=True)
class Announcer:
    """Prefect, and what of this process may be told to it; shared by all its doors."""

    prefect: PrefectClient
    teller: Teller

    async def accepted(self, answers: Sequence[Accepted]) -> None:
        """Tell of events that were just taken in."""
        await announce(self.prefect, answers, self.teller)

    async def decided(self, decided: Iterable[tuple[HasHappened, Json]]) -> None:
        """Tell of decisions on events that had waited."""
        await send(self.prefect, [told for event, one in decided for told in self.teller.told_later(event, [one])])
