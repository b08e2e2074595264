import base64
from dataclasses import replace

from httpx import AsyncClient

from tests.integration.api.serving import Api, page_event, serve


async def test_a_signed_webhook_needs_no_key_and_is_answered_like_an_event(api: Api) -> None:
    answer = await api.webhook(page_event())

    assert answer.status_code == 202
    [event] = answer.json()["events"]
    assert not event["duplicate"]
    assert len(event["executions"]) == 1


async def test_the_webhooks_id_is_the_events_when_it_has_none(api: Api) -> None:
    [without] = (await api.webhook(page_event(), id="msg_7")).json()["events"]
    [with_own] = (await api.webhook(page_event(id="evt-1"), id="msg_8")).json()["events"]

    assert (without["id"], with_own["id"]) == ("msg_7", "evt-1")


async def test_a_webhook_sent_again_is_a_duplicate(api: Api) -> None:
    [first] = (await api.webhook(page_event(), id="msg_7")).json()["events"]
    [second] = (await api.webhook(page_event(), id="msg_7")).json()["events"]

    assert second["duplicate"]
    assert second["executions"] == first["executions"]


async def test_a_wrong_an_expired_and_a_missing_signature_are_401(api: Api) -> None:
    other = "whsec_" + base64.b64encode(b"another secret").decode()

    assert (await api.webhook(page_event(), secret=other)).status_code == 401
    assert (await api.webhook(page_event(), age=3600)).status_code == 401
    assert (await api.webhook(page_event(), age=-3600)).status_code == 401
    unsigned = await api.post("webhooks/studio/", page_event())
    assert unsigned.status_code == 401
    assert unsigned.json()["type"] == "/problems/unauthorized"


async def test_a_signature_is_checked_before_the_body_is_read(api: Api) -> None:
    async with AsyncClient(base_url=api.url) as client:
        answer = await client.post("webhooks/studio/", content=b"{ rubbish")

    assert answer.status_code == 401


async def test_a_signed_webhook_that_breaks_a_rule_is_422(api: Api) -> None:
    path = await api.webhook(page_event(page_id="../home"))
    a_list = await api.webhook([page_event()])

    assert (path.status_code, path.json()["field"]) == (422, "data.page.id")
    assert a_list.status_code == 422


async def test_without_a_secret_no_webhook_gets_in(api: Api) -> None:
    bare = api.services.settings.model_copy(update={"studio_webhook_secret": None})

    async with serve(replace(api.services, settings=bare)) as without:
        assert (await without.webhook(page_event())).status_code == 401
