"""Studio events that somebody emits into Prefect (`prefect event emit studio.…`): the low-rate door.

A run per event, so it is for scripts and other flows; Studio itself uses the API. What comes through here
takes the same way as everything else: the intake, under an id made of Prefect's, so never twice.
"""

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from automation import engine, intake
from automation.errors import RefusedError
from automation.settings import get_settings


@flow(name="studio-events", **engine.FLOW_OPTIONS)
async def studio_events(event_id: str, event_type: str, occurred: datetime, payload: dict[str, Any]) -> State[Any]:
    """Take one `studio.*` event of Prefect's into the intake; its payload is the event's `data`."""
    try:
        event = intake.parse_event(
            {
                "id": f"prefect:{event_id}",
                "type": event_type.removeprefix(intake.PREFIX),
                "timestamp": occurred.isoformat(),
                "data": payload,
            }
        )
    except RefusedError as error:
        return Failed(message=f"Refused: {error}")
    answers = await intake.accept(engine.process_database(), [event], source="prefect", settings=get_settings())
    async with get_client() as client:
        await intake.announce(client, answers)
    again = " (seen before)" if answers[0].duplicate else ""
    return Completed(message=f"Accepted{again}, {len(answers[0].executions)} executions")
