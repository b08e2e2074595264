"""Who gets in, for how long, and which forms are taken of them."""

from dataclasses import replace
from datetime import timedelta
from http.cookies import SimpleCookie
from uuid import uuid4

import httpx
import pytest
from httpx import AsyncClient, Response
from sqlalchemy import select, text, update

from automation.models import ApiKey, OpsSession, Status, utc_now
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.ops.visiting import Visitor, key_of

PAGES = (
    "", "live/", "history/", "executions/", f"executions/{uuid4()}/", f"executions/{uuid4()}/acts/",
    f"executions/{uuid4()}/logs/", "events/", "event/?id=x", "dead-letters/", "deliveries/", "approvals/", "alerts/",
    f"alerts/{uuid4()}/", "find/?q=x",
)  # fmt: skip


def cookie_of(answer: Response) -> "SimpleCookie":
    return SimpleCookie(answer.headers["set-cookie"])


# --- getting in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_who_is_not_signed_in_is_led_to_the_login_and_back(stranger: Visitor, path: str) -> None:
    answer = await stranger.get(path)

    assert answer.status_code == 303
    login = str(httpx.URL("/ops/login/", params={"next": f"/ops/{path}"})) if path else "/ops/login/"
    assert httpx.URL(answer.headers["location"]) == httpx.URL(login)


async def test_who_signs_in_again_is_not_told_once_more_what_was_done(stranger: Visitor) -> None:
    answer = await stranger.get("executions/?status=FAILED&done=retried")

    assert httpx.URL(answer.headers["location"]).params["next"] == "/ops/executions/?status=FAILED"


async def test_a_part_of_a_page_is_refused_instead(stranger: Visitor) -> None:
    for headers in ({"X-Part": "1"}, {"Accept": "text/event-stream"}):
        answer = await stranger.client.get(f"{stranger.origin}/ops/live/", headers=headers)
        assert answer.status_code == 401


async def test_a_key_signs_in_and_stands_in_no_cookie_and_no_table(stranger: Visitor) -> None:
    key = (await key_of(stranger.api, "read"))["key"]

    answer = await stranger.sign_in(key, "/ops/history/?window=7d")

    assert (answer.status_code, answer.headers["location"]) == (303, "/ops/history/?window=7d")
    (cookie,) = cookie_of(answer).values()
    assert cookie["httponly"]
    assert not cookie["secure"], "this came without TLS"
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("strict", "/ops/", "43200")
    async with stranger.api.database.transaction() as session:
        stored = str((await session.execute(text("SELECT * FROM ops_sessions"))).all())
    assert key not in cookie.value
    assert key not in stored
    assert cookie.value not in stored
    assert "somebody" in await stranger.page()


async def test_behind_a_proxy_with_tls_the_cookie_goes_over_tls_alone(stranger: Visitor) -> None:
    answer = await stranger.post("login/", {"X-Forwarded-Proto": "https"}, key=KEY)

    (cookie,) = cookie_of(answer).values()
    assert cookie["secure"]


async def test_a_wrong_key_does_not(stranger: Visitor) -> None:
    for key in ("", "nonsense", "ak_" + "A" * 43, "\0", "é" * 500):
        answer = await stranger.sign_in(key)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "This key is none" in answer.text


async def test_a_key_that_may_only_tell_may_not_look(stranger: Visitor) -> None:
    key = (await key_of(stranger.api, "events:write"))["key"]

    assert (await stranger.sign_in(key)).status_code == 403
    assert (await stranger.get()).status_code == 303


async def test_who_guesses_keys_is_slowed_down_as_at_the_api(api: Api) -> None:
    slow = replace(api.services, settings=api.services.settings.model_copy(update={"rate_limit": 1}))
    async with serve(slow, with_pages=True) as limited, AsyncClient() as client:
        visitor = Visitor(limited, client)
        answers = [(await visitor.sign_in(f"guess-{n}")).status_code for n in range(5)]
        last = await visitor.sign_in("guess")

    assert answers[0] == 401
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) > 0


async def test_who_guesses_cookies_is_too(api: Api) -> None:
    slow = replace(api.services, settings=api.services.settings.model_copy(update={"rate_limit": 1}))
    async with serve(slow, with_pages=True) as limited:
        answers = []
        for n in range(5):
            async with AsyncClient(cookies={"automation_ops": f"guess-{n}"}) as client:
                answers.append((await Visitor(limited, client).get()).status_code)

    assert answers[0] == 303
    assert answers[-1] == 429


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/ops/", "/api/automation/", "/ops/\\evil", "javascript:alert(1)"]
)
async def test_the_login_leads_to_no_other_place(stranger: Visitor, target: str) -> None:
    assert (await stranger.sign_in(KEY, target)).headers["location"] == "/ops/"


# --- getting out ------------------------------------------------------------------------------------------------


async def test_signing_out_ends_the_session_for_whoever_has_its_cookie(operator: Visitor) -> None:
    cookies = dict(operator.client.cookies)

    assert (await operator.press("logout/")).headers["location"] == "/ops/login/"

    assert not operator.client.cookies
    async with AsyncClient(cookies=cookies) as thief:
        assert (await Visitor(operator.api, thief).get()).status_code == 303


async def test_who_may_only_look_may_sign_out(stranger: Visitor) -> None:
    await stranger.sign_in((await key_of(stranger.api, "read"))["key"])

    assert (await stranger.press("logout/")).status_code == 303


@pytest.mark.parametrize("change", [{"revoked_at": utc_now()}, {"expires_at": utc_now()}, {"key_hash": b"another"}])
async def test_a_key_that_is_not_in_force_any_more_takes_its_sessions_with_it(
    stranger: Visitor, change: dict[str, object]
) -> None:
    await stranger.sign_in((await key_of(stranger.api, "read"))["key"])
    await stranger.page()

    async with stranger.api.database.transaction() as session:
        await session.execute(update(ApiKey).values(**change))

    assert (await stranger.get()).status_code == 303


async def test_another_start_up_key_ends_the_sessions_of_the_one_before(operator: Visitor) -> None:
    settings = operator.api.services.settings.model_copy(update={"api_key": None})
    async with serve(replace(operator.api.services, settings=settings), with_pages=True) as other:
        answer = await Visitor(other, operator.client).get()

    assert answer.status_code == 303


async def test_a_session_ends_after_twelve_hours_and_is_deleted_at_the_next_sign_in(operator: Visitor) -> None:
    async with operator.api.database.transaction() as session:
        await session.execute(update(OpsSession).values(expires_at=OpsSession.expires_at - timedelta(hours=12)))

    assert (await operator.get()).status_code == 303
    await operator.sign_in(KEY)
    async with operator.api.database.transaction() as session:
        assert len((await session.scalars(select(OpsSession))).all()) == 1


async def test_a_session_survives_a_restart_of_the_service(operator: Visitor) -> None:
    async with serve(operator.api.services, with_pages=True) as after:
        await Visitor(after, operator.client).page()


# --- forms ------------------------------------------------------------------------------------------------------


async def test_a_form_is_taken_from_a_page_of_this_address_and_session_alone(operator: Visitor) -> None:
    id_ = await operator.api.execution(await operator.api.workflow())
    path, token = f"executions/{id_}/cancel/", await operator.token()

    refused = [
        await operator.post(path, reason="none"),
        await operator.post(path, form_token="0" * 64),
        await operator.post(path, form_token="é"),
        await operator.post(path, {"Origin": "https://evil.example"}, form_token=token),
        await operator.post(path, {"Origin": operator.origin + "1"}, form_token=token),
        await operator.post(path, {"Origin": "null"}, form_token=token),
        await operator.post(path, {"Origin": ""}, form_token=token),
    ]

    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert (await operator.api.stored(id_)).status == Status.PENDING
    assert (await operator.post(path, form_token=token)).status_code == 303


async def test_a_page_that_was_open_before_somebody_else_signed_in_beside_it_can_press_nothing(
    operator: Visitor,
) -> None:
    id_ = await operator.api.execution(await operator.api.workflow())
    before, cookies = await operator.token(), dict(operator.client.cookies)

    await operator.sign_in((await key_of(operator.api, "execute", name="another"))["key"])

    assert (await operator.post(f"executions/{id_}/cancel/", form_token=before)).status_code == 403
    assert (await operator.api.stored(id_)).status == Status.PENDING
    async with AsyncClient(cookies=cookies) as first:
        assert (await Visitor(operator.api, first).get()).status_code == 303, "the session before is over"


async def test_a_login_from_elsewhere_is_refused(stranger: Visitor) -> None:
    assert (await stranger.post("login/", {"Origin": "https://evil.example"}, key=KEY)).status_code == 403


async def test_a_body_that_is_no_form_is_refused(operator: Visitor) -> None:
    id_ = await operator.api.execution(await operator.api.workflow())
    url = f"{operator.origin}/ops/executions/{id_}/cancel/"
    form = "application/x-www-form-urlencoded"

    for content, type_ in ((b"{}", "application/json"), (b"&" * 500 + b"a=1&" * 500, form), (b"\xff=1", form)):
        answer = await operator.client.post(
            url, content=content, headers={"Origin": operator.origin, "Content-Type": type_}
        )
        assert answer.status_code in (403, 422), content[:20]
    assert (await operator.api.stored(id_)).status == Status.PENDING


async def test_who_may_only_look_sees_no_buttons_and_can_press_none(stranger: Visitor) -> None:
    workflow_id = await stranger.api.workflow()
    id_ = await stranger.api.execution(workflow_id)
    await stranger.sign_in((await key_of(stranger.api, "read"))["key"])

    assert "<button" not in (await stranger.page(f"executions/{id_}/")).split('id="live"')[1].split('id="log"')[0]
    assert (await stranger.press(f"executions/{id_}/cancel/")).status_code == 403
    assert (await stranger.api.stored(id_)).status == Status.PENDING
