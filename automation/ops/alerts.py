"""Alerts: what is wrong, since when, what to do; who looks after it; and not hearing of it for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from automation.alerting import silences
from automation.alerting.links import Links, links_of
from automation.alerting.rules import Rule, in_force
from automation.api.auth import Caller
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import Services, ServicesOf
from automation.errors import RefusedError
from automation.models import Alert, AlertState, Silence, utc_now
from automation.models.alert_queries import find_alert, list_alerts, list_silences, silences_in_force
from automation.ops.executions import SIZE
from automation.ops.guard import FormOf, Viewer
from automation.ops.rendering import page

router = APIRouter(prefix="/alerts")

FIRING_SHOWN = 20
SILENCES_SHOWN = 50
HOURS = (1, 8, 24, 168)
"""For how long an alert can be silenced at a press of a button: a fix, a night, a day, a week."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An alert with its rule (None if there is none of that name any more) and where to read on."""

    alert: Alert
    rule: Rule | None
    silenced_until: datetime | None
    links: Links


async def firing(session: AsyncSession, viewer: Caller) -> tuple[list[Alert], int]:
    """What fires, the most severe first, at most `FIRING_SHOWN`, and how many there are; uq_alerts_open."""
    weight = case({"CRITICAL": 0, "WARNING": 1}, value=Alert.severity, else_=2)
    query = select(Alert, func.count().over()).where(Alert.state == AlertState.FIRING)
    if viewer.only is not None:
        query = query.where(Alert.project_id == viewer.only)
    query = query.order_by(weight, Alert.created_at, Alert.id).limit(FIRING_SHOWN)
    rows = (await session.execute(query)).tuples().all()
    return [alert for alert, _ in rows], rows[0][1] if rows else 0


@router.get("/")
async def show_alerts(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    rule: NameFilter = None,
    severity: Literal["INFO", "WARNING", "CRITICAL"] | None = None,
    state: Literal["PENDING", "FIRING", "RESOLVED"] | None = None,
    project_id: ProjectFilter = None,
    cursor: CursorText = None,
) -> Response:
    """Alerts, newest first, and what is silenced."""
    async with services.database.transaction() as session:
        found = await list_alerts(
            session,
            rule=rule,
            severity=severity,
            state=state,
            project_id=viewer.among(project_id),
            position=decode_cursor(cursor, UUID),
            size=SIZE,
        )
        rows = await _shown(session, [one for (one,) in found.rows], services)
        listed = await list_silences(session, project_id=viewer.only, size=SILENCES_SHOWN)
    filters = {"rule": rule or "", "severity": severity or "", "state": state or "", "project_id": project_id or ""}
    return await page(
        request, "alerts.html", rows=rows, listing=found, filters=filters, hours=HOURS,
        silences=[one for (one,) in listed.rows],
    )  # fmt: skip


@router.get("/{id}/")
async def show_alert(id: UUID, request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """One alert, where messages about it lead."""
    async with services.database.transaction() as session:
        await viewer.require(session, Alert, id)
        rows = await _shown(session, [await find_alert(session, id)], services)
    return await page(request, "alert.html", rows=rows, hours=HOURS)


@router.post("/{id}/acknowledge/")
async def acknowledge_alert(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Say that somebody looks after it."""
    async with services.database.transaction() as session:
        await viewer.require(session, Alert, id)
        await silences.acknowledge(session, viewer, id, comment=form.words("comment"))
    return RedirectResponse("/ops/alerts/?done=acknowledged", 303)


@router.post("/{id}/silence/")
async def silence_alert(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Nobody is told of it for some hours."""
    if form["hours"] not in map(str, HOURS):
        raise RefusedError(f"hours: expected one of {', '.join(map(str, HOURS))}", "hours")
    until = utc_now() + timedelta(hours=int(form["hours"]))
    async with services.database.transaction() as session:
        await viewer.require(session, Alert, id)
        await silences.silence(session, viewer, id, until, only=viewer.only, comment=form.words("comment"))
    return RedirectResponse("/ops/alerts/?done=silenced", 303)


@router.post("/silences/{id}/end/")
async def end_silence(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """People are told again."""
    async with services.database.transaction() as session:
        await viewer.require(session, Silence, id)
        await silences.unsilence(session, viewer, id)
    return RedirectResponse("/ops/alerts/?done=unsilenced", 303)


async def _shown(session: AsyncSession, alerts: list[Alert], services: Services) -> list[Shown]:
    rules, now = in_force(services.settings.alerts_file), utc_now()
    silenced = await silences_in_force(session, now)
    links = await links_of(session, alerts, rules, services.settings)
    return [
        Shown(one, rules.rules.get(one.rule), silences.silenced_until(one, silenced, now), links[one.id])
        for one in alerts
    ]
