import json
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from automation.api import problems
from automation.api.limits import Limit
from automation.api.middleware import RequestLog
from automation.errors import (
    AutomationError,
    BadSignatureError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ThrottledError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)


async def answer_to(error: Exception) -> Response:
    """What a route that raises `error` answers."""
    app = FastAPI()
    problems.install(app, Limit(100))
    app.add_middleware(RequestLog)

    @app.get("/")
    async def route() -> None:
        raise error

    async with AsyncClient(transport=ASGITransport(app), base_url="http://api") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    ("error", "status", "type_"),
    [
        (NotFoundError("no such thing"), 404, "/problems/not-found"),
        (ConflictError("not now"), 409, "/problems/conflict"),
        (RefusedError("wrong", "data.page"), 422, "/problems/refused"),
        (BadSignatureError("forged"), 401, "/problems/unauthorized"),
        (UnauthorizedError("who?"), 401, "/problems/unauthorized"),
        (ForbiddenError("not you"), 403, "/problems/forbidden"),
        (ThrottledError("slowly", 1.5), 429, "/problems/too-many"),
        (TooLargeError("too much"), 413, "/problems/body-too-large"),
        (UnavailableError("gone"), 503, "/problems/unavailable"),
        (ConnectionRefusedError("gone"), 503, "/problems/unavailable"),
    ],
)
async def test_every_error_of_ours_is_a_problem_of_its_own_status(
    error: AutomationError, status: int, type_: str
) -> None:
    answer = await answer_to(error)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == type_
    assert answer.json()["status"] == status
    assert answer.json()["title"]
    assert answer.json()["detail"]


async def test_a_refusal_names_the_field_and_other_problems_have_none() -> None:
    refused: dict[str, Any] = (await answer_to(RefusedError("wrong", "data.page.id"))).json()

    assert refused["field"] == "data.page.id"
    assert "field" not in (await answer_to(NotFoundError("no"))).json()


async def test_what_is_unavailable_says_when_to_come_back() -> None:
    assert int((await answer_to(UnavailableError("gone"))).headers["retry-after"]) > 0


async def test_an_unexpected_error_is_a_500_that_shows_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await answer_to(KeyError("the secret\n2026-01-01 INFO a forged line"))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "the secret" in caplog.text
    assert "\n2026-01-01 INFO a forged line" not in caplog.text


async def test_a_problem_is_plain_json_whatever_its_text_holds() -> None:
    answer = await answer_to(RefusedError("</script>\x00\u2028é", "data"))

    assert json.loads(answer.content)["detail"] == "</script>\x00\u2028é"
