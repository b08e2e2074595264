"""Which triggers an event may concern: found by an index, so that others cost nothing however many there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.intake.events import HasHappened
from automation.models import Json, Workflow
from automation.triggers.types import heard_as, patterns


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trigger that an event concerns by its type, with what is needed of its workflow.

    `scope` is its project, or "" for one of the platform, which hears every project. `calls_off`: the event
    is its `cancel_on`.
    """

    id: UUID
    scope: str
    trigger_type: str
    event_type: str
    conditions: Json
    config: Json
    is_active: bool
    workflow_id: UUID
    workflow_name: str
    kind: str
    workflow_config: Json
    calls_off: bool = False

    def calling_off(self) -> "Candidate":
        """The trigger for an event that is its `cancel_on`, which needs no conditions, and has no limits."""
        key = {"key": self.config["key"]} if "key" in self.config else {}
        return replace(self, conditions={}, config=key, calls_off=True)

    @property
    def is_plain(self) -> bool:
        """Nothing but its type decides; so it is with nearly all."""
        return self.is_active and not self.conditions and not self.config and not self.calls_off


_COLUMNS = """t.id, coalesce(t.project_id, '') AS scope, t.trigger_type, t.event_type, t.conditions, t.config,
    t.is_active AND w.is_active AND w.archived_at IS NULL AS is_active,
    w.id AS workflow_id, w.name AS workflow_name, w.kind, w.config AS workflow_config"""
_JSON = Workflow.config.type

_CONCERNED = text(f"""
    SELECT {_COLUMNS}, false AS calls_off
    FROM unnest(CAST(:scopes AS text[]), CAST(:types AS text[]), CAST(:names AS text[]))
        AS heard(scope, trigger_type, event_type)
    JOIN triggers AS t ON coalesce(t.project_id, '') = heard.scope AND t.trigger_type = heard.trigger_type
        AND t.event_type = heard.event_type
    JOIN workflows AS w ON w.id = t.workflow_id AND w.archived_at IS NULL
    UNION ALL
    SELECT {_COLUMNS}, true
    FROM unnest(CAST(:cancel_scopes AS text[]), CAST(:cancel_names AS text[])) AS heard(scope, event_type)
    JOIN triggers AS t ON coalesce(t.project_id, '') = heard.scope AND t.config ->> 'cancel_on' = heard.event_type
        AND t.trigger_type = 'DELAYED'
    JOIN workflows AS w ON w.id = t.workflow_id AND w.archived_at IS NULL
""").columns(conditions=_JSON, config=_JSON, workflow_config=_JSON)  # noqa: S608 (columns are our own)

_BY_ID = text(f"""
    SELECT {_COLUMNS} FROM triggers AS t JOIN workflows AS w ON w.id = t.workflow_id
    WHERE t.id = ANY(CAST(:ids AS uuid[]))
""").columns(conditions=_JSON, config=_JSON, workflow_config=_JSON)  # noqa: S608


class Concerned:
    """The triggers that a list of events concerns."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._fire: dict[tuple[str, str, str], list[Candidate]] = {}
        self._call_off: dict[tuple[str, str], list[Candidate]] = {}
        for one in sorted(candidates, key=lambda one: one.id):
            if one.calls_off:
                self._call_off.setdefault((one.scope, one.config["cancel_on"]), []).append(one.calling_off())
            else:
                self._fire.setdefault((one.scope, one.trigger_type, one.event_type), []).append(one)

    def by(self, event: HasHappened) -> list[Candidate]:
        """Those that one event concerns, what calls off first."""
        names = patterns(event.type)  # the narrowest first
        found: list[Candidate] = []
        for scope in (event.project_id, "") if event.project_id else ("",):
            called_off: dict[UUID, int] = {}
            if self._call_off:
                for width, name in enumerate(names):
                    for one in self._call_off.get((scope, name), ()):
                        called_off[one.id] = width
                        found.append(one)
            for type_, name in heard_as(event.type):
                heard = self._fire.get((scope, type_, name), ())
                # `order.cancelled` calls off what waits for `order.*`, and does not begin to wait itself
                found += [one for one in heard if one.id not in called_off or names.index(name) <= called_off[one.id]]
        return found


async def concerned(session: AsyncSession, events: Sequence[HasHappened]) -> Concerned:
    """The triggers that these events concern, also those that are switched off; ix_triggers_matching,
    ix_triggers_cancelling."""
    pairs = {(scope, event.type) for event in events for scope in (event.project_id, "")}
    # each once: several types of one list are heard under the same `prefix.*`
    heard = sorted({(scope, *name) for scope, type_ in pairs for name in heard_as(type_)})
    cancel = sorted({(scope, name) for scope, type_ in pairs for name in patterns(type_)})
    if not heard:
        return Concerned(())
    scopes, types, names = zip(*heard, strict=True)
    cancel_scopes, cancel_names = zip(*cancel, strict=True)
    rows = await session.execute(
        _CONCERNED,
        {
            "scopes": list(scopes),
            "types": list(types),
            "names": list(names),
            "cancel_scopes": list(cancel_scopes),
            "cancel_names": list(cancel_names),
        },
    )
    return Concerned(map(_candidate, rows))


async def by_ids(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Candidate]:
    """These triggers, whatever their type."""
    rows = await session.execute(_BY_ID, {"ids": list(ids)})
    return {row.id: _candidate(row) for row in rows}


def _candidate(row: Row[Any]) -> Candidate:
    return Candidate(*row)
