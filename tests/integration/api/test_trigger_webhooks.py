import asyncio
import hmac
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import orjson
import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, update
from standardwebhooks import Webhook

from automation.models import Event, Execution, Trigger, WebhookSecret, Workflow, utc_now
from automation.models.trigger_queries import add_secret, valid_secrets
from automation.triggers.signatures import make_secret
from tests.integration.api.serving import Api
from tests.integration.rows import every, write

GITHUB = "It's a Secret to Everybody"


async def trigger(
    api: Api, scheme: str | None = "standard", secret: str = "", project_id: str | None = "p1", **values: Any
) -> UUID:
    """A trigger of a workflow of its own, with a secret."""
    workflow_id = await api.workflow(project_id)
    made = Trigger(
        id=uuid4(),
        workflow_id=workflow_id,
        project_id=project_id,
        **{"trigger_type": "WEBHOOK", "config": {"scheme": scheme} if scheme else {}, **values},
    )
    await write(api.database, made)
    if secret:
        await write(api.database, WebhookSecret(trigger_id=made.id, secret=secret))
    return made.id


async def send(api: Api, id: UUID | str, body: bytes, headers: dict[str, str]) -> Response:
    async with AsyncClient(base_url=api.url) as client:  # without the key
        return await client.post(f"webhooks/{id}/", content=body, headers=headers)


async def standard(api: Api, id: UUID, secret: str, value: object, *, msg: str = "msg_1", age: float = 0) -> Response:
    at = datetime.now(UTC) - timedelta(seconds=age)
    body = orjson.dumps(value)
    headers = {
        "webhook-id": msg,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg, at, body.decode()),
    }
    return await send(api, id, body, headers)


async def github(api: Api, id: UUID, body: bytes, delivery: str = "d-1", **headers: str) -> Response:
    signed = {"X-Hub-Signature-256": "sha256=" + hmac.digest(GITHUB.encode(), body, "sha256").hex()}
    return await send(api, id, body, {**signed, "X-GitHub-Delivery": delivery, "X-GitHub-Event": "push", **headers})


async def the_event(api: Api) -> Event:
    [event] = await every(api.database, Event)
    assert isinstance(event, Event)
    return event


# --- deliveries ---------------------------------------------------------------------------------------------


async def test_a_signed_delivery_fires_its_trigger_and_no_other_without_the_key(api: Api) -> None:
    secret = make_secret("standard")
    id, _ = await trigger(api, secret=secret), await trigger(api, secret=secret)

    answer = await standard(api, id, secret, {"type": "order.paid", "order": 7, "project_id": "of-another"})

    assert answer.status_code == 202
    [accepted] = answer.json()["events"]
    assert accepted["id"] == f"webhook:{id}:msg_1"
    assert accepted["duplicate"] is False
    [execution] = await every(api.database, Execution)
    assert [one["id"] for one in accepted["executions"]] == [str(execution.id)]
    assert execution.trigger_type == "WEBHOOK"
    event = await the_event(api)
    assert (event.type, event.project_id, event.source) == ("webhook.received", "p1", "webhook")
    assert event.data == {
        "type": "order.paid",
        "order": 7,
        "project_id": "p1",
        "webhook": {"id": "msg_1", "event": "order.paid", "scheme": "standard"},
    }


async def test_a_delivery_sent_again_is_answered_200_and_runs_nothing(api: Api) -> None:
    secret = make_secret("standard")
    id = await trigger(api, secret=secret)
    first = await standard(api, id, secret, {"n": 1})

    again = await asyncio.gather(*(standard(api, id, secret, {"n": n}) for n in range(3)))

    assert [one.status_code for one in again] == [200] * 3
    assert all(one.json()["events"][0]["duplicate"] for one in again)
    assert again[0].json()["events"][0]["executions"] == first.json()["events"][0]["executions"]
    assert len(await every(api.database, Execution)) == 1


async def test_two_triggers_may_get_the_same_delivery(api: Api) -> None:
    secret = make_secret("standard")
    one, other = await trigger(api, secret=secret), await trigger(api, secret=secret)

    assert [(await standard(api, id, secret, {})).status_code for id in (one, other)] == [202, 202]


async def test_githubs_published_example_is_taken_by_its_signature_and_refused_as_no_json(api: Api) -> None:
    id = await trigger(api, "github", GITHUB)

    answer = await github(api, id, b"Hello, World!")
    forged = await github(api, id, b"Hello, World!", **{"X-Hub-Signature-256": "sha256=" + "0" * 64})

    assert (answer.status_code, forged.status_code) == (422, 401)


async def test_github_may_send_a_form(api: Api) -> None:
    id = await trigger(api, "github", GITHUB)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"payload": '{"ref": "refs/heads/main", "é": "&="}'}).encode()

    assert (await github(api, id, body, **form)).status_code == 202
    assert (await the_event(api)).data == {
        "ref": "refs/heads/main",
        "é": "&=",
        "project_id": "p1",
        "webhook": {"id": "d-1", "event": "push", "scheme": "github"},
    }
    for bad in (b"", b"a=1", b"payload=1&payload=2", b"payload", b"\xff=%ff", b"payload=%7B"):
        assert (await github(api, id, bad, delivery="d-2", **form)).status_code == 422


async def test_stripes_event_is_known_by_the_id_in_its_body(api: Api) -> None:
    id = await trigger(api, "stripe", "webhook_secret")
    body = orjson.dumps({"id": "evt_123", "type": "customer.created", "data": {"object": {}}})

    async def deliver(at: float) -> Response:
        signed = hmac.digest(b"webhook_secret", f"{int(at)}.".encode() + body, "sha256").hex()
        return await send(api, id, body, {"Stripe-Signature": f"t={int(at)},v1={signed}"})

    now = datetime.now(UTC).timestamp()
    answers = [await deliver(at) for at in (now, now - 60, now - 3600)]

    assert [one.status_code for one in answers] == [202, 200, 401]
    assert answers[0].json()["events"][0]["id"] == f"webhook:{id}:evt_123"


@pytest.mark.parametrize("value", [[1, 2], "text", None, 7.5])
async def test_a_value_that_is_no_object_is_the_body_in_the_data(api: Api, value: object) -> None:
    secret = make_secret("standard")
    id = await trigger(api, None, secret)

    assert (await standard(api, id, secret, value)).status_code == 202
    assert (await the_event(api)).data["body"] == value


async def test_the_platforms_triggers_have_no_project(api: Api) -> None:
    secret = make_secret("standard")
    id = await trigger(api, secret=secret, project_id=None)

    assert (await standard(api, id, secret, {"project_id": "p1"})).status_code == 202
    assert (await the_event(api)).data["project_id"] == ""


async def test_an_id_that_is_long_or_no_plain_text_still_names_its_delivery(api: Api) -> None:
    id = await trigger(api, "github", GITHUB)

    for delivery in ("x" * 300, "with blanks"):
        answers = [await github(api, id, b"{}", delivery) for _ in range(2)]
        assert [one.status_code for one in answers] == [202, 200]
        assert len(answers[0].json()["events"][0]["id"]) <= 200


# --- what is refused ----------------------------------------------------------------------------------------


async def test_a_bad_signature_is_401_and_one_line_of_the_log_without_the_body(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    secret = make_secret("standard")
    id = await trigger(api, secret=secret)

    with caplog.at_level(logging.INFO):
        answers = [
            await standard(api, id, make_secret("standard"), {"n": "hunter2"}),
            await standard(api, id, secret, {"n": "hunter2"}, age=301),
            await standard(api, id, secret, {"n": "hunter2"}, age=-302),
            await send(api, id, b'{"n": "hunter2"}', {}),
            await send(api, id, b"{ rubbish", {}),
        ]

    assert [one.status_code for one in answers] == [401] * 5
    assert all(one.json()["type"] == "/problems/unauthorized" for one in answers)
    lines = [one.getMessage() for one in caplog.records if "was refused" in one.getMessage()]
    assert len(lines) == 5
    assert all(str(id) in line for line in lines)
    assert "hunter2" not in caplog.text
    assert secret not in caplog.text + "".join(one.text for one in answers)
    assert await every(api.database, Event) == []


async def test_a_webhook_that_is_unknown_switched_off_or_of_another_type_is_the_same_404(api: Api) -> None:
    secret = make_secret("standard")
    off, manual, idle = [
        await trigger(api, secret=secret, **values)
        for values in ({"is_active": False}, {"trigger_type": "EVENT", "event_type": "a"}, {})
    ]
    async with api.database.transaction() as session:
        of_idle = select(Trigger.workflow_id).where(Trigger.id == idle).scalar_subquery()
        await session.execute(update(Workflow).where(Workflow.id == of_idle).values(is_active=False))

    answers = {id: await standard(api, id, secret, {}) for id in (off, manual, idle, uuid4())}

    assert {one.status_code for one in answers.values()} == {404}
    assert len({one.json()["detail"].replace(str(id), "") for id, one in answers.items()}) == 1


async def test_a_delivery_without_any_secret_is_401(api: Api) -> None:
    id = await trigger(api)

    assert (await standard(api, id, make_secret("standard"), {})).status_code == 401


async def test_a_body_that_cannot_be_stored_or_is_too_large_is_refused(api: Api) -> None:
    id = await trigger(api, "github", GITHUB)

    nul = await github(api, id, b'{"a": "\\u0000"}')
    large = await github(api, id, b'"' + b"x" * 2 * 1024 * 1024 + b'"')

    assert (nul.status_code, nul.json()["field"]) == (422, "data.a")
    assert large.status_code == 413


async def test_studios_own_webhook_is_still_reached(api: Api) -> None:
    answer = await api.webhook({"type": "a.b", "data": {"project_id": "p1"}})

    assert answer.status_code == 202


# --- secrets ------------------------------------------------------------------------------------------------


async def test_a_new_secret_is_told_once_and_the_one_before_stays_good_for_a_while(api: Api) -> None:
    old, oldest = make_secret("standard"), make_secret("standard")
    id = await trigger(api, secret=oldest)

    async def outcome(secret: str) -> int:
        return (await standard(api, id, secret, {}, msg=uuid4().hex)).status_code

    answer = await api.post(f"triggers/{id}/secret/", {"secret": old})
    assert (answer.status_code, answer.json()) == (201, {"secret": old})
    assert [await outcome(one) for one in (oldest, old)] == [202, 202]

    new = (await api.post(f"triggers/{id}/secret/")).json()["secret"]
    assert [await outcome(one) for one in (oldest, old, new)] == [401, 202, 202]

    async with api.database.transaction() as session:
        later = utc_now() + timedelta(days=1, seconds=1)
        assert await valid_secrets(session, id, later) == [new]


async def test_secrets_changed_at_once_leave_two_that_are_good(api: Api) -> None:
    id = await trigger(api, secret=make_secret("standard"))

    answers = await asyncio.gather(*(api.post(f"triggers/{id}/secret/") for _ in range(5)))

    assert {one.status_code for one in answers} == {201}
    async with api.database.transaction() as session:
        good = await valid_secrets(session, id, utc_now())
    assert len(good) == 2
    assert set(good) <= {one.json()["secret"] for one in answers}


async def test_without_an_overlap_the_old_secret_ends_at_once(api: Api) -> None:
    id = await trigger(api, secret=make_secret("standard"))

    async with api.database.transaction() as session:
        await add_secret(session, id, "whsec_new", timedelta(0))
        assert await valid_secrets(session, id, utc_now()) == ["whsec_new"]


async def test_a_secret_needs_the_key_a_webhook_and_a_usable_text(api: Api) -> None:
    id = await trigger(api)
    other = await trigger(api, trigger_type="EVENT", event_type="a", config={})

    async with AsyncClient(base_url=api.url) as client:
        assert (await client.post(f"triggers/{id}/secret/")).status_code == 401
    assert (await api.post(f"triggers/{uuid4()}/secret/")).status_code == 404
    assert (await api.post(f"triggers/{other}/secret/")).status_code == 409
    for body, field in (
        ({"secret": "hunter2"}, "secret"),
        ({"secret": 7}, "secret"),
        ({"secret": None, "scheme": "x"}, "scheme"),
        ([], None),
    ):
        answer = await api.post(f"triggers/{id}/secret/", body)
        assert (answer.status_code, answer.json().get("field")) == (422, field)
        assert "hunter2" not in answer.text
    assert await every(api.database, WebhookSecret) == []
