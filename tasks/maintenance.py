"""Steps of the nightly cleanup: what is too old goes, and the database is kept in shape."""

import asyncio
from dataclasses import asdict
from datetime import timedelta

from pydantic import Field
from sqlalchemy import select

from automation import maintenance
from automation.maintenance import in_words
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
    """Delete ended executions, activities, flow runs, deliveries, the outbox, alerts and silences that are over, and
    backups of deleted pages that are too old; events (with what triggers remember of them) older than
    AUTOMATION_EVENT_RETENTION_DAYS, and what the audit has from before AUTOMATION_AUDIT_RETENTION_DAYS.

    In batches, each a short transaction; nothing unfinished is deleted, whatever its age. Stopped at any
    point and run again, it goes on with what is left; the counts are those of the last try.

    Returns:
        {"rows": {table: n, …}, "total_rows": n, "freed_bytes": about what they leave for new rows,
        "prefect_flow_runs": n, "page_backups": {"files": n, "bytes": n}}
    """
    now = utc_now()
    before = now - timedelta(days=config.older_than_days)
    rows = await maintenance.delete_rows(step.database, before)
    rows += await maintenance.delete_events(step.database, now - timedelta(days=step.settings.event_retention_days))
    rows += await maintenance.delete_audit(step.database, now - timedelta(days=step.settings.audit_retention_days))
    async with step.database.transaction() as session:
        freed = await maintenance.freed_bytes(session, rows)
    backups = await asyncio.to_thread(maintenance.delete_page_backups, step.settings.runtime_root, before)
    runs = await maintenance.delete_prefect_runs(before)
    by_table = dict(rows.most_common())
    listed = ", ".join(f"{table} {number}" for table, number in by_table.items()) or "none"
    step.log(
        f"Deleted {rows.total()} rows ({listed}), {runs} Prefect runs and {backups.files} backups of pages of before "
        f"{before:%F %T} UTC; the rows leave about {in_words(freed)} for new ones."
    )
    return {
        "rows": by_table,
        "total_rows": rows.total(),
        "freed_bytes": freed,
        "prefect_flow_runs": runs,
        "page_backups": asdict(backups),
    }


@step("CLEAN_TEMP_FILES")
async def clean_temp_files(step: StepContext, config: CleanTempFilesConfig) -> Result:
    """Remove temporary files, and build folders of executions that have ended, that are too old.

    Returns:
        {"files": n, "bytes": n, "folders": {name: {"before": bytes, "after": bytes}}}: what was removed, and how much
        of the disk each folder of the home takes
    """
    sizes = await asyncio.to_thread(maintenance.measure_folders, step.settings.home)
    before = utc_now() - timedelta(hours=config.older_than_hours)
    # a build that old belongs to an execution that is at least as old
    unfinished = select(Execution.id).where(Execution.status.in_(OPEN), Execution.created_at < before)
    async with step.database.transaction() as session:
        keep = {str(one) for one in await session.scalars(unfinished)}
    removed = await asyncio.to_thread(maintenance.delete_temporary, step.settings.runtime_root, before, keep)
    after = await asyncio.to_thread(maintenance.measure_folders, step.settings.home)
    step.log(
        f"Removed {removed.files} leftover files, {in_words(removed.bytes)}; {step.settings.home} takes "
        f"{in_words(sum(after.values()))} of the disk."
    )
    folders = {name: {"before": sizes.get(name, 0), "after": size} for name, size in after.items()}
    return asdict(removed) | {"folders": folders}


@step("OPTIMIZE_DATABASE")
async def optimize_database(step: StepContext, config: OptimizeDatabaseConfig) -> Result:
    """VACUUM and ANALYZE our tables, outside a transaction, through the block `automation-database`.

    Returns:
        {"commands": ["VACUUM", "ANALYZE"], "tables": {name: {"before": bytes, "after": bytes}},
        "bytes": {"before": n, "after": n}}
    """
    commands = [name for name, wanted in (("VACUUM", config.vacuum), ("ANALYZE", config.analyze)) if wanted]
    if not commands:
        step.log("Nothing done: vacuum and analyze are both off.")
        return {"commands": [], "tables": {}, "bytes": {"before": 0, "after": 0}}
    tables = await maintenance.optimize(vacuum=config.vacuum, analyze=config.analyze)
    total = {when: sum(one[when] for one in tables.values()) for when in ("before", "after")}
    step.log(
        f"{' and '.join(commands)} of {len(tables)} tables, which were {in_words(total['before'])} large and are "
        f"{in_words(total['after'])}."
    )
    return {"commands": commands, "tables": tables, "bytes": total}
