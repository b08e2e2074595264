"""Steps that tell people, through Foundation."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from automation import neighbours
from automation.errors import ValidationError
from automation.foundation.mail import is_address
from automation.foundation.notify import Channel, Notice, channels, notify
from automation.foundation.texts import text
from automation.insights.activities import record
from automation.models import Activity
from automation.runtime.releases import PRODUCTION
from automation.steps import Result, StepConfig, StepContext, step


class NotifyUserConfig(StepConfig):
    """`send_email`: an e-mail to the project's owner. `update_status`: record the publication for Studio."""

    send_email: bool = True
    update_status: bool = True


@step("NOTIFY_USER")
async def notify_user(step: StepContext, config: NotifyUserConfig) -> Result:
    """Tell the project's owner, and every Apprise URL of the settings, that a release is live.

    Each channel is told at least once. What a channel took is stored at once, so that a later try leaves it
    out; only a process that dies between the two repeats it, under the same Message-ID.

    Returns:
        {"delivered": [channel], "status": "published", "version", "environment"}, with "owed": true if somebody
        is to be told later; `delivered` is empty and `reason` says why when there is no channel, or when a
        newer release was live already and nobody needs to know; the status is left out without `update_status`.

    Raises:
        ValidationError: no step before this one deployed a release, or Foundation or Insights refused.
        NetworkError: a channel failed, or Insights, and the step is required; the others have been told.
    """
    release = step.results.get("deploy-to-runtime")
    if not release or "version" not in release:
        raise ValidationError("NOTIFY_USER: no release to tell of; put it after a DEPLOY_TO_RUNTIME step.")
    if not release.get("deployed", True):
        step.log("Nobody was told: a newer release is live.")
        return {"delivered": [], "reason": "a newer release is live"}
    result: Result = {"delivered": []}
    if config.update_status:
        status = {
            "status": "published", "version": release["version"], "environment": release["environment"]
        }  # fmt: skip
        result |= status
        if not await record(step, "project.status", changes=status):
            result["owed"] = True
    notice = _notice(step, release, config)
    reached = channels(step.settings, notice.to)
    if not reached:
        result["reason"] = "no channel is configured"
        step.log(
            "Nobody was told: no channel is configured. AUTOMATION_SMTP_URL sends e-mail to a project's "
            "owner, AUTOMATION_NOTIFY_URLS tells any service that Apprise knows."
        )
        return result
    told = [channel.name for channel in reached]

    async def tell(channel: Channel) -> None:
        send = partial(channel.deliver, notice)
        if not await neighbours.have(step, channel.key, send, asdict(notice), _key(step, channel)):
            told.remove(channel.name)
            result["owed"] = True
            return
        await _remember(step, channel)
        step.log(f"Told by {channel.name} that version {release['version']} is live.")

    await notify(await _untold(step, reached), tell)
    result["delivered"] = told
    return result


def _owner(step: StepContext) -> str:
    """The owner's address, or nothing if there is none that mail can be sent to."""
    address = step.project.owner_email
    if address and not is_address(address):
        step.log(f"The owner's e-mail address {address!r} is not one; no e-mail.", "WARNING")
        return ""
    return address


def _notice(step: StepContext, release: Result, config: NotifyUserConfig) -> Notice:
    action = step.results.get("verify-release", {}).get("action", "")
    environment = str(release["environment"])
    path = f"/{quote(step.project.id, safe='')}/"
    subject, body = text(
        step.settings.language,
        {"promote": "promoted", "rollback": "rolled_back"}.get(action, "published"),
        project=step.project.name or step.project.id,
        version=str(release["version"]),
        environment=environment,
        path=path if environment == PRODUCTION else f"{path}@{quote(environment, safe='')}/",
    )
    return Notice(
        subject,
        body,
        step.idempotency_key,
        to=_owner(step) if config.send_email else "",
        person_id=step.project.owner_id if config.send_email else "",
        project_id=step.project.id,
    )


def _key(step: StepContext, channel: Channel) -> str:
    return f"{step.idempotency_key}:{channel.key}"


async def _untold(step: StepContext, reached: Sequence[Channel]) -> list[Channel]:
    """The channels that no earlier try of this step has told."""
    keys = [_key(step, channel) for channel in reached]
    query = select(Activity.idempotency_key).where(Activity.idempotency_key.in_(keys))
    async with step.database.transaction() as session:
        told = set(await session.scalars(query))
    return [channel for channel in reached if _key(step, channel) not in told]


async def _remember(step: StepContext, channel: Channel) -> None:
    """Store now, and not with the step's outcome, what cannot be taken back."""
    row = insert(Activity).values(
        idempotency_key=_key(step, channel),
        project_id=step.project.id,
        execution_id=step.execution_id,
        type="notification.sent",
        changes={"channel": channel.name},
    )
    async with step.database.transaction() as session:
        await session.execute(row.on_conflict_do_nothing())
