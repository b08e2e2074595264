"""NOTIFY_USER, against a real mail server, a real web server and a real database."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from sqlalchemy import select

from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.foundation import mail
from automation.models import Activity, utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, StepContext
from tasks.notifications import NotifyUserConfig, notify_user
from tests.integration.certificates import certificate, server_context
from tests.integration.mailbox import Mailbox, receiving
from tests.integration.neighbours import Neighbour

VERSION = "20260115T103000000Z-1f0c9a2b"
DEPLOYED = {"deployed": True, "version": VERSION, "environment": "production"}


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with receiving() as mailbox:
        yield mailbox


@pytest.fixture
def channel() -> Iterator[Neighbour]:
    """Where an Apprise URL leads to."""
    neighbour = Neighbour()
    yield neighbour
    neighbour.go()


Make = Callable[..., StepContext]


@pytest.fixture
def make(database: Database) -> Make:
    def context(
        *,
        owner: str = "owner@example.com",
        name: str = "Boutique",
        deployed: dict[str, Any] | None = DEPLOYED,
        verified: dict[str, Any] | None = None,
        **settings: Any,
    ) -> StepContext:
        results = {"deploy-to-runtime": deployed, "verify-release": verified}
        return StepContext(
            execution_id=UUID("11111111-1111-1111-1111-111111111111"),
            workflow_id=UUID(int=1),
            workflow_name="Generate Application",
            identifier="notify-user",
            project=ProjectInfo(id="project-456", name=name, owner_email=owner),
            trigger_type="ON_PUBLISH",
            event_type="project.published",
            trigger_data={},
            occurred_at=utc_now(),
            results={name: result for name, result in results.items() if result is not None},
            attempt=1,
            settings=Settings(**settings),
            database=database,
        )

    return context


def smtp(mailbox: Mailbox) -> str:
    return f"smtp://127.0.0.1:{mailbox.port}"


@pytest.mark.parametrize(("language", "subject"), [("fr", "« Boutique » est en ligne"), ("en", "“Boutique” is live")])
async def test_the_owner_gets_a_mail_in_the_language_of_the_installation(
    make: Make, mailbox: Mailbox, language: str, subject: str
) -> None:
    step = make(smtp_url=smtp(mailbox), language=language, mail_from="automation@example.org")
    result = await notify_user.function(step, NotifyUserConfig())
    [envelope], [message] = mailbox.inbox.envelopes, mailbox.inbox.messages
    assert envelope.rcpt_tos == ["owner@example.com"]
    assert envelope.mail_from == "automation@example.org"
    assert message["Subject"] == subject
    assert VERSION in message.get_content()
    assert "/project-456/" in message.get_content()
    assert result["delivered"] == ["e-mail to owner@example.com"]


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        ("promote", "“Boutique”: a version was promoted"),
        ("rollback", "“Boutique”: back to an earlier version"),
    ],
)
async def test_a_promotion_and_a_rollback_are_called_what_they_are(
    make: Make, mailbox: Mailbox, action: str, subject: str
) -> None:
    place = {"version": VERSION, "environment": "staging"}
    step = make(smtp_url=smtp(mailbox), language="en", deployed=DEPLOYED | place, verified={"action": action} | place)
    await notify_user.function(step, NotifyUserConfig())
    [message] = mailbox.inbox.messages
    assert message["Subject"] == subject
    assert "/project-456/@staging/" in message.get_content()


async def test_nobody_is_told_of_a_release_that_a_newer_one_has_overtaken(make: Make, mailbox: Mailbox) -> None:
    step = make(smtp_url=smtp(mailbox), deployed=DEPLOYED | {"deployed": False, "superseded": True})
    result = await notify_user.function(step, NotifyUserConfig())
    assert result == {"delivered": [], "reason": "a newer release is live"}
    assert mailbox.inbox.envelopes == []
    assert step.rows == []


async def test_a_hostile_project_name_adds_no_header_and_no_recipient(make: Make, mailbox: Mailbox) -> None:
    step = make(smtp_url=smtp(mailbox), name="Shop\r\nBcc: victim@example.com\r\n\r\nEvil body")
    await notify_user.function(step, NotifyUserConfig())
    [envelope], [message] = mailbox.inbox.envelopes, mailbox.inbox.messages
    assert envelope.rcpt_tos == ["owner@example.com"]
    assert message["Bcc"] is None
    assert not message.get_content().startswith("Evil")


@pytest.mark.parametrize("owner", ["a@x.com\r\nBcc: b@y.com", "a@x.com, b@y.com", "no address", "Ann <a@x.com>"])
async def test_an_owner_without_one_plain_address_gets_no_mail(make: Make, mailbox: Mailbox, owner: str) -> None:
    step = make(smtp_url=smtp(mailbox), owner=owner)
    result = await notify_user.function(step, NotifyUserConfig())
    assert mailbox.inbox.envelopes == []
    assert result["delivered"] == []
    assert step.lines[0].level == "WARNING"
    assert "\n" not in step.lines[0].message


async def test_without_send_email_the_owner_gets_none_and_the_other_channels_are_told(
    make: Make, mailbox: Mailbox, channel: Neighbour
) -> None:
    step = make(smtp_url=smtp(mailbox), notify_urls=(channel.apprise_url,))
    result = await notify_user.function(step, NotifyUserConfig(send_email=False))
    assert mailbox.inbox.envelopes == []
    assert result["delivered"] == ["json"]
    assert len(channel.requests) == 1


async def test_update_status_records_the_publication(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig())
    [row] = step.rows
    assert isinstance(row, Activity)
    assert row.type == "project.status"
    assert row.changes == {"status": "published", "version": VERSION, "environment": "production"}
    assert result["status"] == "published"


async def test_without_update_status_nothing_is_recorded(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig(update_status=False))
    assert step.rows == []
    assert "status" not in result


async def test_with_no_channel_the_log_says_so_and_the_step_is_done(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig(update_status=False))
    assert result == {"delivered": [], "reason": "no channel is configured"}
    assert "no channel is configured" in step.lines[0].message


async def test_an_apprise_channel_gets_title_and_body(make: Make, channel: Neighbour) -> None:
    step = make(notify_urls=(channel.apprise_url,), language="en")
    await notify_user.function(step, NotifyUserConfig())
    [post] = [one.json for one in channel.requests]
    assert post["title"] == "“Boutique” is live"
    assert VERSION in post["message"]


async def test_a_channel_that_fails_is_tried_again_and_the_others_are_not_told_twice(
    make: Make, mailbox: Mailbox, channel: Neighbour, database: Database
) -> None:
    options = {"smtp_url": smtp(mailbox), "notify_urls": (channel.apprise_url,)}
    channel.answer = lambda request: (503, {})
    for _ in range(2):
        with pytest.raises(NetworkError, match="json"):
            await notify_user.function(make(**options), NotifyUserConfig())
    channel.answer = lambda request: (200, {})
    channel.requests.clear()
    result = await notify_user.function(make(**options), NotifyUserConfig())
    assert len(mailbox.inbox.envelopes) == 1
    assert len(channel.requests) == 1
    assert result["delivered"] == ["e-mail to owner@example.com", "json"]
    async with database.transaction() as session:
        rows = (await session.scalars(select(Activity))).all()
    assert {row.type for row in rows} == {"notification.sent"}
    assert len(rows) == 2


async def test_a_mail_server_that_is_away_is_a_network_error_without_the_password(make: Make) -> None:
    step = make(smtp_url="smtp://user:s3cret@127.0.0.1:9")
    with pytest.raises(NetworkError) as caught:
        await notify_user.function(step, NotifyUserConfig())
    assert "s3cret" not in str(caught.value)


async def test_a_wrong_apprise_url_names_the_setting(make: Make) -> None:
    with pytest.raises(NetworkError, match="AUTOMATION_NOTIFY_URLS"):
        await notify_user.function(make(notify_urls=("nosuch://token@host",)), NotifyUserConfig())


async def test_without_a_release_the_step_says_what_is_missing(make: Make) -> None:
    with pytest.raises(ValidationError, match="DEPLOY_TO_RUNTIME"):
        await notify_user.function(make(deployed=None), NotifyUserConfig())


async def test_a_password_goes_through_starttls_where_the_server_offers_it(tmp_path: Path) -> None:
    seen: list[LoginPassword] = []

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        seen.append(data)
        return AuthResult(success=True)

    tls = server_context(certificate(tmp_path, x509.IPAddress(ip_address("127.0.0.1"))))
    with receiving(tls_context=tls, require_starttls=True, auth_required=True, authenticator=check) as mailbox:
        message = mail.compose(sender="a@example.org", to="b@example.org", subject="S", body="B", idempotency_key="k")
        await mail.send(f"smtp://us%40er:p%3Ass@127.0.0.1:{mailbox.port}", message)
    assert seen == [LoginPassword(b"us@er", b"p:ss")]
    assert len(mailbox.inbox.envelopes) == 1
