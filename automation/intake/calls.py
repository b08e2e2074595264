"""A call of `workflows/{id}/execute/` fires the workflow's API_CALL trigger, and is answered with its execution."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import ConflictError, ThrottledError
from automation.intake.create import Started
from automation.intake.decide import Match, Outcome, decide
from automation.intake.events import API_CALL, PastEvent, storable
from automation.intake.matching import by_ids
from automation.models import Json, utc_now
from automation.settings import Settings


async def fire_call(
    session: AsyncSession, trigger_id: UUID, data: Json, settings: Settings, *, execution_id: UUID
) -> Started:
    """Fire an API_CALL trigger; `data` has the `input`.

    Raises:
        ConflictError: it does not fire on this: switched off, its conditions do not hold, an execution of its key is
            open…
        ThrottledError: it has fired too often.
        RefusedError: PostgreSQL cannot store the data.
    """
    storable(data, "input")
    trigger = (await by_ids(session, [trigger_id]))[trigger_id]
    event = PastEvent(f"call:{execution_id}", API_CALL, trigger.scope, data, utc_now())
    match = Match(trigger, event, execution_id=execution_id, by_name=True)
    await decide(session, [match], settings)
    if match.started:
        return match.started
    text = f"Trigger {trigger_id} (API_CALL) does not fire on this: {match.reason}."
    if match.outcome == Outcome.THROTTLED and match.due_at:
        raise ThrottledError(text, (match.due_at - utc_now()).total_seconds())
    raise ConflictError(text)
