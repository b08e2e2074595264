"""Who is told by signed webhooks, and what they are told: Studio of executions, and whoever wants to know of alerts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.due import Due
from automation.errors import NotFoundError, SettingError
from automation.models.workflow_queries import list_workflows
from automation.settings import Settings

Shown = Callable[[AsyncSession, UUID], Awaitable[BaseModel]]
"""What `GET …/{id}/` shows of something; raises NotFoundError when there is none."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told.

    Attributes:
        name: for the log.
        of_alerts: which deliveries are theirs.
        find: what a delivery tells, as it is now; raises NotFoundError when that was deleted.
    """

    name: str
    url: str
    secret: SecretStr
    of_alerts: bool
    find: Callable[[AsyncSession, Due], Awaitable[BaseModel]]


def studio(settings: Settings, shown: Shown) -> Receiver:
    """Studio, at AUTOMATION_STUDIO_CALLBACK_URL.

    Args:
        shown: how an execution is shown to whoever asks for it.

    Raises:
        SettingError: where to send it, or what to sign it with, is not set.
    """

    async def find(session: AsyncSession, due: Due) -> BaseModel:
        if due.execution_id is None:
            return await _ready(session, due.project_id or "")
        return await shown(session, due.execution_id)

    url, secret = settings.studio_callback_url, settings.studio_callback_secret
    return _receiver("Studio", "AUTOMATION_STUDIO_CALLBACK", url, secret, of_alerts=False, find=find)


def of_alerts(settings: Settings, shown: Shown) -> Receiver:
    """Whoever listens at AUTOMATION_ALERT_WEBHOOK_URL.

    Args:
        shown: how an alert is shown to whoever asks for it.

    Raises:
        SettingError: where to send it, or what to sign it with, is not set.
    """

    async def find(session: AsyncSession, due: Due) -> BaseModel:
        if due.alert_id is None:
            raise NotFoundError("It tells of no alert.")
        return await shown(session, due.alert_id)

    url, secret = settings.alert_webhook_url, settings.alert_webhook_secret
    return _receiver("The receiver of alerts", "AUTOMATION_ALERT_WEBHOOK", url, secret, of_alerts=True, find=find)


def _receiver(
    name: str,
    variable: str,
    url: str | None,
    secret: SecretStr | None,
    *,
    of_alerts: bool,
    find: Callable[[AsyncSession, Due], Awaitable[BaseModel]],
) -> Receiver:
    if not url or secret is None:
        raise SettingError(
            f'{variable}_SECRET is not set, and {variable}_URL is: use `automation up`, or eval "$(automation env)"'
        )
    return Receiver(name, url, secret, of_alerts, find)


class _Workflow(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    kind: str
    trigger_type: str
    is_active: bool


class _Ready(BaseModel):
    """A project and the workflows that it has now."""

    project_id: str
    workflows: list[_Workflow]


async def _ready(session: AsyncSession, project_id: str) -> _Ready:
    page = await list_workflows(session, project_id=project_id, size=200)
    return _Ready(project_id=project_id, workflows=[_Workflow.model_validate(one) for (one,) in page.rows])
