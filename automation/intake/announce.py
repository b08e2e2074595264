"""Telling Prefect of a rare event, so that the trigger of a deployment starts its flow.

The event's resource is `automation.event.<id>`: by that the deployment `studio-events`, which takes in the
`studio.*` events of other senders, knows that this one has been through the intake.
"""

import logging
from collections.abc import Sequence
from uuid import uuid4

from prefect.client.orchestration import PrefectClient

from automation.intake.accept import Accepted
from automation.models import Json

PREFIX = "studio."
RESOURCE = "automation.event."

log = logging.getLogger(__name__)


def prefect_event(accepted: Accepted) -> Json:
    """The Prefect event of an accepted one: `studio.<type>`, with the execution ids of each kind."""
    event = accepted.event
    kinds: dict[str, list[str]] = {}
    for one in accepted.executions:
        kinds.setdefault(one.kind, []).append(str(one.id))
    return {
        "id": str(uuid4()),
        "occurred": event.received_at.isoformat(),
        "event": PREFIX + event.type,
        "resource": {
            "prefect.resource.id": RESOURCE + event.id,
            "prefect.resource.name": event.type,
            "automation.kinds": ",".join(sorted(kinds)) or "none",
        },
        "related": [{"prefect.resource.id": f"studio.project.{event.project_id}", "prefect.resource.role": "project"}],
        "payload": {"event_id": event.id, "project_id": event.project_id, "executions": kinds},
    }


async def announce(client: PrefectClient, answers: Sequence[Accepted]) -> None:
    """Emit the Prefect events of what was just accepted, after its commit.

    Losing them is no harm (the dispatcher starts what nobody claimed), so a failure is only logged.
    """
    events = [prefect_event(one) for one in answers if one.announce]
    if not events:
        return
    try:
        await client.request("POST", "/events", json=events)
    except Exception as error:
        log.warning("Prefect took no event (%s); the dispatcher starts its executions instead.", error)
