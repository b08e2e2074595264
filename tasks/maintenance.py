"""Steps of the nightly cleanup: what is too old goes, and the database is kept in shape."""

import asyncio
from dataclasses import asdict
from datetime import timedelta

from pydantic import Field
from sqlalchemy import select

from automation import maintenance
from automation.models import OPEN, Execution, utc_now
from automation.steps import Result, StepConfig, StepContext, step


class CleanOldExecutionsConfig(StepConfig):
    """`older_than_days`: days that ended executions, and what belongs to them, are kept."""

    older_than_days: int = Field(30, ge=1, le=36_500)


class CleanTempFilesConfig(StepConfig):
    """`older_than_hours`: hours since its last change after which a leftover file goes."""

    older_than_hours: int = Field(24, ge=1, le=876_000)


class OptimizeDatabaseConfig(StepConfig):
    """`vacuum`: give the space of deleted rows back. `analyze`: refresh the planner's statistics."""

    vacuum: bool = True
    analyze: bool = True


@step("CLEAN_OLD_EXECUTIONS")
async def clean_old_executions(step: StepContext, config: CleanOldExecutionsConfig) -> Result:
    """Delete ended executions, activities, flow runs, deliveries, the outbox, alerts and backups of deleted pages that
    are too old, and events (with what triggers remember of them) older than AUTOMATION_EVENT_RETENTION_DAYS.

    In batches, each a short transaction; nothing unfinished is deleted, whatever its age. Stopped at any
    point and run again, it goes on with what is left; the counts are those of the last try.

    Returns:
        {"executions": n, "flow_runs": n, "activities": n, "deliveries": n, "outbox": n, "alerts": n, "events": n,
        "timers": n, "dedupe_keys": n, "trigger_states": n, "idempotency_keys": n,
        "prefect_flow_runs": n, "page_backups": {"files": n, "bytes": n}}
    """
    before = utc_now() - timedelta(days=config.older_than_days)
    rows = await maintenance.delete_rows(step.database, before)
    events_before = utc_now() - timedelta(days=step.settings.event_retention_days)
    rows |= await maintenance.delete_events(step.database, events_before)
    backups = await asyncio.to_thread(maintenance.delete_page_backups, step.settings.runtime_root, before)
    runs = await maintenance.delete_prefect_runs(before)
    step.log(f"Deleted {rows['executions']} executions and {runs} Prefect runs of before {before:%F %T} UTC.")
    return {**rows, "prefect_flow_runs": runs, "page_backups": asdict(backups)}


@step("CLEAN_TEMP_FILES")
async def clean_temp_files(step: StepContext, config: CleanTempFilesConfig) -> Result:
    """Remove temporary files, and build folders of executions that have ended, that are too old.

    Returns:
        {"files": n, "bytes": n}
    """
    before = utc_now() - timedelta(hours=config.older_than_hours)
    # a build that old belongs to an execution that is at least as old
    unfinished = select(Execution.id).where(Execution.status.in_(OPEN), Execution.created_at < before)
    async with step.database.transaction() as session:
        keep = {str(one) for one in await session.scalars(unfinished)}
    removed = await asyncio.to_thread(maintenance.delete_temporary, step.settings.runtime_root, before, keep)
    step.log(f"Removed {removed.files} leftover files, {removed.bytes} bytes.")
    return asdict(removed)


@step("OPTIMIZE_DATABASE")
async def optimize_database(step: StepContext, config: OptimizeDatabaseConfig) -> Result:
    """VACUUM and ANALYZE our tables, outside a transaction, through the block `automation-database`.

    Returns:
        {"commands": ["VACUUM", "ANALYZE"], "tables": {name: {"before": bytes, "after": bytes}}}
    """
    commands = [name for name, wanted in (("VACUUM", config.vacuum), ("ANALYZE", config.analyze)) if wanted]
    if not commands:
        step.log("Nothing done: vacuum and analyze are both off.")
        return {"commands": [], "tables": {}}
    tables = await maintenance.optimize(vacuum=config.vacuum, analyze=config.analyze)
    won = sum(one["before"] - one["after"] for one in tables.values())
    step.log(f"{' and '.join(commands)} of {len(tables)} tables; {won} bytes less than before.")
    return {"commands": commands, "tables": tables}
