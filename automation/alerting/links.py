"""Where people read on: an incident's execution, its run in Prefect, and its section of the runbook."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from prefect.utilities.urls import url_for
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.rules import Rules
from automation.installation import local_url
from automation.models import Alert, Execution, FlowRun
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses, or None where there is nothing to show; `runbook` may be the name of a file."""

    alert: str
    execution: str | None
    prefect_run: str | None
    runbook: str


async def links_of(
    session: AsyncSession, alerts: Collection[Alert], rules: Rules, settings: Settings
) -> dict[UUID, Links]:
    """The links of each alert, by its id; one statement, by the primary keys."""
    executions = {one.execution_id for one in alerts if one.execution_id}
    query = select(Execution.id, FlowRun.prefect_id).join(FlowRun, FlowRun.id == Execution.flow_run_id)
    rows = (await session.execute(query.where(Execution.id.in_(executions)))).tuples() if executions else ()
    runs = {execution_id: prefect_id for execution_id, prefect_id in rows if prefect_id}
    pages = f"{settings.public_url or local_url(settings.host, settings.api_port)}/ops"
    return {
        one.id: Links(
            alert=f"{pages}/alerts/{one.id}/",
            execution=f"{pages}/executions/{one.execution_id}/" if one.execution_id else None,
            prefect_run=_prefect_run(one, runs),
            runbook=f"{rules.runbook}#{one.rule}",
        )
        for one in alerts
    }


def _prefect_run(alert: Alert, runs: dict[UUID, UUID]) -> str | None:
    """The run that carries the execution now, or that the incident is about."""
    prefect_id = runs.get(alert.execution_id) if alert.execution_id else None
    if prefect_id is None and (named := alert.details.get("prefect_run_id")):
        prefect_id = UUID(named)
    return url_for("flow-run", obj_id=prefect_id, url_type="ui") if prefect_id else None
