"""Workflows from the database to documents, and from documents into the database: export and import."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from automation.authoring import write
from automation.authoring.documents import id_of, parse_text, to_text
from automation.authoring.drafts import WorkflowDraft, parse_workflow
from automation.authoring.shapes import TriggerBody
from automation.authoring.triggers import CUSTOM, is_system
from automation.errors import AutomationError, ConflictError, NotFoundError, RefusedError
from automation.intake.projects import ensure_project
from automation.models import Trigger, Workflow
from automation.models.workflow_queries import find_workflow
from automation.settings import Settings

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document that is to be imported.

    Attributes:
        place: its file, for people.
        workflow_id: of a workflow that people have made; None of a system workflow.
    """

    place: str
    workflow_id: UUID | None
    draft: WorkflowDraft


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does with one document: the workflow's document before ("": there was none) and after."""

    place: str
    workflow_id: UUID
    before: str
    after: str

    @property
    def kind(self) -> Literal["created", "changed", "unchanged"]:
        if not self.before:
            return "created"
        return "unchanged" if self.before == self.after else "changed"


async def workflows_of(session: AsyncSession, project_id: str | None = None) -> AsyncIterator[Workflow]:
    """All workflows with steps and triggers (None: of every project), those that were deleted apart."""
    query = select(Workflow.id).where(Workflow.archived_at.is_(None)).order_by(Workflow.id)
    if project_id is not None:
        query = query.where(Workflow.project_id == project_id)
    ids = (await session.scalars(query)).all()
    whole = select(Workflow).options(selectinload(Workflow.steps), selectinload(Workflow.triggers))
    for start in range(0, len(ids), _AT_ONCE):
        some = whole.where(Workflow.id.in_(ids[start : start + _AT_ONCE])).order_by(Workflow.id)
        for workflow in await session.scalars(some):
            yield workflow
        session.expunge_all()


def parse_documents(texts: Mapping[str, str], settings: Settings) -> list[Wanted]:
    """Documents by place, checked as the API checks what is posted.

    Raises:
        RefusedError: some break a rule; a line for each, with its place.
    """
    wanted, faults = list[Wanted](), list[str]()
    seen: dict[object, str] = {}
    for place, text in texts.items():
        try:
            one = _parse(place, text, settings)
            key = one.workflow_id or (one.draft.identity["kind"], one.draft.identity.get("project_id"))
            if (first := seen.setdefault(key, place)) != place:
                raise RefusedError(f"is about the same workflow as {first}")
            wanted.append(one)
        except RefusedError as error:
            faults.append(f"{place}: {error}")
    if faults:
        raise RefusedError("\n".join(faults))
    return wanted


def _parse(place: str, text: str, settings: Settings) -> Wanted:
    document = parse_text(text)
    workflow_id, draft = id_of(document), parse_workflow(document, settings)
    is_custom = draft.identity.get("kind") in (None, CUSTOM)
    if is_custom and workflow_id is None:
        raise RefusedError("id: is missing; give a new workflow any UUID, which it keeps", "id")
    return Wanted(place, workflow_id if is_custom else None, draft)


async def apply(session: AsyncSession, wanted: Sequence[Wanted], settings: Settings) -> list[Change]:
    """Make the database hold what the documents say.

    What is equal already is not touched. No workflow is ever deleted.

    Raises:
        AutomationError: what one of them says cannot be; the text begins with its place.
    """
    changes = []
    for one in wanted:
        try:
            changes.append(await _apply(session, one, settings))
        except RefusedError as error:
            raise RefusedError(f"{one.place}: {error}", error.field) from None
        except AutomationError as error:
            raise type(error)(f"{one.place}: {error}") from None
    return changes


async def _apply(session: AsyncSession, wanted: Wanted, settings: Settings) -> Change:
    found = await _find(session, wanted, settings)
    if found is None:
        written = await write.create_workflow(session, wanted.draft, settings, wanted.workflow_id)
        return Change(wanted.place, written.workflow.id, "", await _text(session, written.workflow.id))
    id_, before = found.id, to_text(found)
    async with session.begin_nested() as attempt:
        await write.change_workflow(session, id_, _suited(wanted.draft, found))
        after = await _text(session, id_)
        if after == before:  # then it was not changed at all, the time of its last change included
            await attempt.rollback()
    return Change(wanted.place, id_, before, after)


async def _find(session: AsyncSession, wanted: Wanted, settings: Settings) -> Workflow | None:
    """The workflow that a document is about, as the database has it."""
    if wanted.workflow_id is not None:
        query = select(Workflow.id).where(Workflow.id == wanted.workflow_id)
    else:
        kind, project_id = wanted.draft.identity["kind"], wanted.draft.identity.get("project_id")
        if project_id is not None:
            await ensure_project(session, project_id, settings)
        query = select(Workflow.id).where(Workflow.kind == kind, Workflow.project_id.is_not_distinct_from(project_id))
    ids = (await session.scalars(query)).all()
    if len(ids) == 1:
        return await _fresh(session, ids[0])
    if wanted.workflow_id is not None:
        return None
    whose = f"project {project_id!r}" if project_id is not None else "the platform"
    raise NotFoundError(
        f"{whose} has {len(ids) or 'no'} workflow{'s' * bool(ids)} of kind {kind!r}, which is not one of those that "
        "people make; `automation deploy` makes the platform's."
    )


async def _fresh(session: AsyncSession, workflow_id: UUID) -> Workflow:
    await session.flush()
    session.expire_all()  # numbers, for one, are read otherwise than they were written
    return await find_workflow(session, workflow_id)


async def _text(session: AsyncSession, workflow_id: UUID) -> str:
    return to_text(await _fresh(session, workflow_id))


def _suited(draft: WorkflowDraft, workflow: Workflow) -> WorkflowDraft:
    """A draft for a workflow that is there: its triggers keep their secrets and what they remember.

    A system workflow keeps its name, which may be another one in another installation.
    """
    triggers = _recognised(workflow.triggers, draft.triggers or ())
    if not is_system(workflow):
        return replace(draft, triggers=triggers)
    identity = {key: value for key, value in draft.identity.items() if key in ("kind", "project_id")}
    return replace(draft, identity=identity, triggers=triggers)


def _recognised(old: Sequence[Trigger], new: Sequence[TriggerBody]) -> list[TriggerBody]:
    """The new triggers, with the ids of those that they are: the most alike first, never two of one."""
    found: dict[int, TriggerBody] = {}
    free = list(old)
    for names in (_ALL, _ALL[:-1], _ALL[:3], _ALL[:2]):
        for place, body in enumerate(new):
            same = (one for one in free if all(getattr(one, name) == getattr(body, name) for name in names))
            if place not in found and (match := next(same, None)):
                free.remove(match)
                found[place] = body.model_copy(update={"id": match.id})
    return [found.get(place, body) for place, body in enumerate(new)]


_ALL = ("trigger_type", "event_type", "config", "conditions", "is_active")


async def left_out(
    session: AsyncSession, wanted: Sequence[Wanted], changes: Sequence[Change]
) -> Sequence[tuple[str, str, UUID]]:
    """Name, kind and id of the workflows of the documents' projects that no document is about, by name."""
    projects = {one.draft.identity.get("project_id") for one in wanted}
    query = select(Workflow.name, Workflow.kind, Workflow.id).where(
        Workflow.archived_at.is_(None),
        Workflow.project_id.in_([one for one in projects if one is not None])
        | (Workflow.project_id.is_(None) if None in projects else False),
        Workflow.id.not_in([one.workflow_id for one in changes]),
    )
    return (await session.execute(query.order_by(Workflow.name, Workflow.id))).tuples().all()


def require_same(announced: Sequence[Change], done: Sequence[Change]) -> None:
    """Refuse to do anything else than what was announced.

    Raises:
        ConflictError: somebody changed a workflow meanwhile.
    """
    for said, is_now in zip(announced, done, strict=True):
        if (said.before, said.after) != (is_now.before, is_now.after):
            raise ConflictError(f"{said.place}: its workflow was changed meanwhile; nothing was imported, try again.")
