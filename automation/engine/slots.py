"""A run that Prefect's scheduler made for a cron slot: whether it is one of ours, and whether it (still) runs.

Prefect works out times in its own way; where the clocks change it makes runs at times that are no slots, and leaves
slots out. What is no slot does nothing here, and what is missing the catch-up of `automation.schedules` fires.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun as PrefectRun
from sqlalchemy.ext.asyncio import AsyncSession

from automation.intake import fire_slot
from automation.intake.slots import SKIPPED, Skip, skip_slots
from automation.models import Execution, Trigger, utc_now
from automation.settings import Settings
from automation.triggers.missed import why_skip
from automation.triggers.slots import is_slot, slot_execution_id
from automation.triggers.types import ScheduledConfig


def trigger_of(flow_run: PrefectRun) -> UUID | None:
    """The SCHEDULED trigger whose schedule made a run: the schedule's slug.

    Not its parameters, which Prefect empties when somebody switches the schedule off and on in its UI.
    """
    by = flow_run.created_by
    if not flow_run.auto_scheduled or by is None or by.type != "SCHEDULE" or by.display_value is None:
        return None
    try:
        slug = UUID(by.display_value)
    except ValueError:
        return None
    return slug if slug != by.id else None  # a schedule that somebody made in Prefect has its own id


async def start_slot(session: AsyncSession, trigger_id: UUID, expected: datetime, settings: Settings) -> UUID | str:
    """The execution of a slot, or why nothing runs.

    Args:
        expected: when Prefect was to start the run; that it starts late does not change its slot.
    """
    slot = expected.astimezone(UTC)
    trigger = await session.get(Trigger, trigger_id)
    if trigger is None or trigger.trigger_type != "SCHEDULED":
        return f"Trigger {trigger_id} does not exist any more."
    known = await session.get(Execution, slot_execution_id(trigger_id, slot))
    if known is not None:
        return known.error_message if known.error_code == SKIPPED else known.id
    config = ScheduledConfig.model_construct(**trigger.config)  # checked when it was saved
    if not is_slot(config.cron, config.timezone, slot):
        return f"{slot:%Y-%m-%d %H:%M:%S} UTC is not a slot of trigger {trigger_id} ({config.cron}, {config.timezone})."
    if trigger.last_slot is not None and slot <= trigger.last_slot:
        return f"The slot {slot:%Y-%m-%d %H:%M} UTC of trigger {trigger_id} was settled before."
    now = utc_now()
    if reason := why_skip(config, slot, now):
        await skip_slots(session, [Skip(trigger_id, {slot: reason})])
        return reason
    grace = timedelta(seconds=settings.dispatch_grace)  # else the dispatcher makes a second run of it at once
    match = await fire_slot(session, trigger_id, slot, settings, not_before=now + grace)
    if match.started is None or match.due_at is not None:  # ended by a limit of the trigger, or waits for its turn
        return f"{match.outcome}: {match.reason}"
    return match.started.id
