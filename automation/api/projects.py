"""Projects: what is going on in each, publishing one, and deleting one with all that is its own."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import Executor, Manager, Reader
from automation.api.bodies import Given, parse_given, read_json, schema_of
from automation.api.events import EventOut, StartedOut, json_body
from automation.api.filters import TEXT
from automation.api.idempotency import OnceOf
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.authoring.projects import delete_project
from automation.authoring.triggers import CUSTOM
from automation.errors import ConflictError, StepError
from automation.intake import accept_in, parse_event
from automation.intake.accept import Accepted
from automation.models.project_queries import find_project, list_projects, require_project
from automation.runtime import releases, remote
from automation.runtime.names import plain_name
from automation.settings import Settings

router = APIRouter(prefix="/projects", tags=["projects"])

ProjectId = Annotated[str, Path(min_length=1, max_length=128, pattern=TEXT)]


class ProjectOut(BaseModel):
    """A project of Studio's, as its events have told us of it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    owner_id: str
    owner_email: str
    created_at: datetime
    updated_at: datetime


class DeletionOut(BaseModel):
    """That a project is being deleted, in the background."""

    model_config = ConfigDict(from_attributes=True)

    project_id: str
    requested_at: datetime
    last_error: str = Field(description="Why it does not get further; empty while it does.")


class ProjectDetailOut(ProjectOut):
    """A project with what is going on in it."""

    workflows: int = Field(description="Those that are not deleted.")
    open_executions: int = Field(description="Those that have not ended.")
    last_event: EventOut | None = Field(description="The newest that is kept.")
    live: dict[str, str] | None = Field(
        description="The release that is live in each environment; null when Runtime does not say."
    )
    deletion: DeletionOut | None = Field(description="Null unless it is being deleted.")


class PublishedOut(StartedOut):
    """The execution that publishes, in short, and the event that started it, which says what else heard it."""

    event_id: str


class PublishBody(Given):
    """`data`: what the event `project.published` has beside the project's id, as Studio sends it (`user_id`, …)."""

    data: dict[str, Any] = Field(default_factory=dict)


@router.get("/", responses=keyed(422))
async def get_projects(
    request: Request, caller: Reader, services: ServicesOf, cursor: CursorText = None, page_size: PageSize = 50
) -> Listing[ProjectOut]:
    """Projects, newest first."""
    position = decode_cursor(cursor, str)
    async with services.database.reading() as session:
        page = await list_projects(session, id=caller.only, position=position, size=page_size)
    return listing(request, page, (ProjectOut.model_validate(one) for (one,) in page.rows))


@router.get("/{id}/", responses=keyed(404, 422))
async def get_project(id: ProjectId, caller: Reader, services: ServicesOf) -> ProjectDetailOut:
    """One project, and what is going on in it."""
    caller.require_project(id)
    async with services.database.reading() as session:
        found = await find_project(session, id)
    return ProjectDetailOut(
        **ProjectOut.model_validate(found.project).model_dump(),
        workflows=found.workflows,
        open_executions=found.open_executions,
        last_event=EventOut.model_validate(found.last_event) if found.last_event else None,
        live=await _live(services.settings, id),
        deletion=DeletionOut.model_validate(found.deletion) if found.deletion else None,
    )


@router.post(
    "/{id}/publish/",
    status_code=202,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(schema_of(PublishBody), required=False),
)
async def publish_project(
    id: ProjectId,
    request: Request,
    caller: Executor,
    services: ServicesOf,
    once: OnceOf,
    background: BackgroundTasks,
) -> PublishedOut:
    """Publish a project, as if Studio had sent `project.published`.

    To put a release that is there live, or to go back to an earlier one, run the project's publish workflow.
    """
    parsed = await read_json(request, lambda raw: parse_given(PublishBody, raw)) if await request.body() else None
    data = {**(parsed.data if parsed else {}), "project_id": id}
    caller.require_project(id)

    async def publish() -> PublishedOut:
        await require_project(session, id)
        event = parse_event({"type": "project.published", "data": data})
        [accepted] = await accept_in(session, [event], source="api", settings=services.settings)
        if not accepted.executions:
            raise ConflictError(f"No workflow of project {id} that is active hears project.published; nothing was run.")
        await note(session, caller, "publish", "project", id, id, None, {"event_id": event.id, "data": data})
        published.append(accepted)
        # others may hear it beside the project's own
        [first, *_] = sorted(accepted.executions, key=lambda one: one.kind == CUSTOM)
        return PublishedOut(id=first.id, workflow_id=first.workflow_id, status=first.status, event_id=event.id)

    published: list[Accepted] = []
    async with services.database.transaction() as session:
        answer = await once(session, caller, PublishedOut, publish)
    background.add_task(services.announcer.accepted, published)
    return answer


@router.delete("/{id}/", status_code=202, responses=keyed(404, 422))
async def remove_project(id: ProjectId, caller: Manager, services: ServicesOf) -> DeletionOut:
    """Delete a project with all that is its own: workflows, executions with their logs, events, integrations with
    their credentials, API keys, published sites. Only what the audit says of it stays.

    Nothing of it runs from now on, and what runs is stopped. The rest goes in the background: the project shows its
    `deletion` until it is not there any more. Deleting it again changes nothing.
    """
    caller.require_project(id)
    async with services.database.transaction() as session:
        deletion, is_new = await delete_project(session, id, services.settings, caller)
        if is_new:
            await note(session, caller, "delete", "project", id, id, {"id": id}, None)
        return DeletionOut.model_validate(deletion)


async def _live(settings: Settings, project_id: str) -> dict[str, str] | None:
    plain_name(project_id, "id")
    if not settings.runtime_url:
        return await asyncio.to_thread(releases.environments, settings.runtime_root, project_id)
    try:
        return (await remote.list_releases(settings, project_id)).environments
    except StepError:
        return None
