"""The table of all endpoints: who may call each, and that nobody else may.

A new endpoint has no row, and the first test fails until it has one.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from fastapi.routing import iter_route_contexts
from httpx import Response
from sqlalchemy import delete

from automation.api import create_app
from automation.api.auth import GRANTS
from automation.api.idempotency import REPLAYED
from automation.models import (
    Alert,
    ApiKey,
    DeadLetter,
    Delivery,
    Event,
    Execution,
    ExecutionLog,
    Integration,
    Silence,
    Status,
    Trigger,
    Wait,
    WorkflowStep,
    utc_now,
)
from tests.integration.api.serving import Api, page_event, serve

FOREIGN = "p2"
OWN = "p1"
PREFIX = "/api/automation"


@dataclass(frozen=True)
class Row:
    """An endpoint.

    Attributes:
        scope: what a key needs; None: no key is asked for.
        body: a good one, `FOREIGN` being in the names of the other project's objects: `{workflow}`, `{project}`, …
        query: what it cannot do without.
        headers: beside the key.
        about: the object in its address; `list` for a list, `new` for what makes something in a project, `many` for
            what changes many, `none` when no project is concerned.
    """

    scope: str | None
    about: str = "none"
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


STEP = {"step_type": "WAIT", "config": {"seconds": 1}}
TABLE: dict[tuple[str, str], Row] = {
    ("POST", "/events/"): Row("events:write", "new", page_event("{project}")),
    ("GET", "/events/"): Row("read", "list"),
    ("GET", "/events/{id}/"): Row("read", "event"),
    ("POST", "/webhooks/studio/"): Row(None),
    ("POST", "/webhooks/{trigger_id}/"): Row(None),
    ("GET", "/workflows/"): Row("read", "list"),
    ("POST", "/workflows/"): Row("manage", "new", {"name": "W", "project_id": "{project}", "steps": [STEP]}),
    ("GET", "/workflows/{id}/"): Row("read", "workflow"),
    ("PUT", "/workflows/{id}/"): Row("manage", "workflow", {"name": "taken over", "steps": []}),
    ("PATCH", "/workflows/{id}/"): Row("manage", "workflow", {"name": "taken over"}),
    ("DELETE", "/workflows/{id}/"): Row("manage", "workflow"),
    ("POST", "/workflows/{id}/execute/"): Row("execute", "workflow", {"input": {}}),
    ("GET", "/workflows/{id}/versions/"): Row("read", "workflow"),
    ("GET", "/workflows/{id}/steps/"): Row("read", "workflow"),
    ("POST", "/workflows/{id}/steps/"): Row("manage", "workflow", STEP),
    ("GET", "/steps/{id}/"): Row("read", "step"),
    ("PUT", "/steps/{id}/"): Row("manage", "step", STEP),
    ("PATCH", "/steps/{id}/"): Row("manage", "step", {"is_required": False}),
    ("DELETE", "/steps/{id}/"): Row("manage", "step"),
    ("POST", "/steps/{id}/execute/"): Row("execute", "step", {"input": {}}),
    ("GET", "/triggers/"): Row("read", "list"),
    ("POST", "/triggers/"): Row("manage", "new", {"workflow_id": "{workflow}", "trigger_type": "API_CALL"}),
    ("GET", "/triggers/{id}/"): Row("read", "trigger"),
    ("PUT", "/triggers/{id}/"): Row("manage", "trigger", {"trigger_type": "API_CALL"}),
    ("PATCH", "/triggers/{id}/"): Row("manage", "trigger", {"is_active": False}),
    ("DELETE", "/triggers/{id}/"): Row("manage", "trigger"),
    ("POST", "/triggers/{id}/secret/"): Row("manage", "trigger"),
    ("POST", "/triggers/{id}/test/"): Row("execute", "trigger", {"event": page_event(OWN)}),
    ("POST", "/triggers/{id}/replay/"): Row("execute", "trigger", {"since": "2026-01-01T00:00:00Z"}),
    ("GET", "/executions/"): Row("read", "list"),
    ("GET", "/executions/{id}/"): Row("read", "execution"),
    ("GET", "/executions/{id}/items/"): Row("read", "execution", query={"step": "each"}),
    ("GET", "/executions/{id}/logs/"): Row("read", "execution"),
    ("GET", "/executions/{id}/logs/stream/"): Row("read", "execution"),
    ("GET", "/executions/{id}/stream/"): Row("read", "execution"),
    ("GET", "/logs/"): Row("read", "list"),
    ("GET", "/logs/stream/"): Row("read"),
    ("POST", "/executions/{id}/retry/"): Row("execute", "execution", {}),
    ("POST", "/executions/{id}/cancel/"): Row("execute", "execution"),
    ("POST", "/executions/{id}/approve/"): Row("execute", "execution", {"approve": True}),
    ("POST", "/executions/retry/"): Row("execute", "many", {"status": "FAILED"}),
    ("POST", "/executions/cancel/"): Row("execute", "many", {"status": "WAITING"}),
    ("GET", "/dead-letters/"): Row("read", "list"),
    ("POST", "/dead-letters/redrive/"): Row("execute", "many", {}),
    ("POST", "/dead-letters/{execution_id}/redrive/"): Row("execute", "letter"),
    ("GET", "/deliveries/"): Row("read", "list"),
    ("POST", "/deliveries/{id}/redeliver/"): Row("execute", "delivery"),
    ("GET", "/alerts/"): Row("read", "list"),
    ("GET", "/alerts/{id}/"): Row("read", "alert"),
    ("POST", "/alerts/{id}/acknowledge/"): Row("execute", "alert", {}),
    ("POST", "/alerts/{id}/silence/"): Row("execute", "alert", {"seconds": 60}),
    ("GET", "/alert-rules/"): Row("read"),
    ("GET", "/silences/"): Row("read", "list"),
    ("POST", "/silences/"): Row("execute", "new", {"seconds": 60, "project_id": "{project}"}),
    ("DELETE", "/silences/{id}/"): Row("execute", "silence"),
    ("GET", "/integrations/"): Row("read", "list"),
    ("POST", "/integrations/"): Row(
        "manage",
        "new",
        {"name": "crm", "type": "http", "project_id": "{project}", "config": {"base_url": "https://crm.example"}},
    ),
    ("GET", "/integrations/{id}/"): Row("read", "integration"),
    ("PUT", "/integrations/{id}/"): Row(
        "manage",
        "integration",
        {"name": "crm", "type": "http", "project_id": FOREIGN, "config": {"base_url": "https://evil.example"}},
    ),
    ("PATCH", "/integrations/{id}/"): Row("manage", "integration", {"is_active": False}),
    ("DELETE", "/integrations/{id}/"): Row("manage", "integration"),
    ("POST", "/integrations/{id}/test/"): Row("manage", "integration"),
    ("GET", "/projects/"): Row("read", "list"),
    ("GET", "/projects/{id}/"): Row("read", "project"),
    ("POST", "/projects/{id}/publish/"): Row("execute", "project"),
    ("DELETE", "/projects/{id}/"): Row("manage", "project"),
    ("GET", "/step-types/"): Row("read"),
    ("GET", "/trigger-types/"): Row("read"),
    ("GET", "/api-keys/"): Row("admin", "list"),
    ("POST", "/api-keys/"): Row("admin", "new", {"name": "mine", "scopes": ["read"], "project_id": "{project}"}),
    ("DELETE", "/api-keys/{id}/"): Row("admin", "api-key"),
    ("GET", "/audit/"): Row("admin", "list"),
    ("GET", "/metrics/"): Row("read"),
    ("GET", "/insights/workflows/"): Row("read"),
    ("GET", "/insights/steps/"): Row("read"),
    ("GET", "/insights/errors/"): Row("read"),
    ("GET", "/insights/resources/"): Row("read"),
    ("GET", "/health/live/"): Row(None),
    ("GET", "/health/ready/"): Row(None),
    ("GET", "/openapi.json"): Row(None),
}
ROWS = sorted(TABLE.items())
KEYED = [pytest.param(*place, row, id=" ".join(place)) for place, row in ROWS if row.scope]


def of(*kinds: str) -> list[Any]:
    """The rows about such an object."""
    return [pytest.param(*place, row, id=" ".join(place)) for place, row in ROWS if row.about in kinds]


MANY = [path for (_, path), row in ROWS if row.about == "many"]
ABOUT_ONE = of(*{row.about for _, row in ROWS} - {"list", "new", "many", "none"})


@pytest.fixture(scope="module")
async def patient(served: Api) -> AsyncIterator[Api]:
    """An API to which one may come with as many wrong keys as this table has."""
    settings = served.services.settings.model_copy(update={"rate_limit": 1e6})
    async with serve(replace(served.services, settings=settings)) as api:
        yield api


@pytest.fixture
async def api(patient: Api, database: object) -> Api:
    """The API, on empty tables."""
    return patient


async def key(api: Api, *scopes: str, project_id: str | None = None) -> tuple[UUID, str]:
    """A key's id, and the key."""
    body = {"name": f"k-{uuid4().hex}", "scopes": scopes, "project_id": project_id}
    made = (await api.post("api-keys/", body)).json()
    return UUID(made["id"]), made["key"]


async def call(api: Api, key: str | None, method: str, path: str, row: Row, **names: object) -> Response:
    """Call an endpoint with a key (None: without), on the objects of these names; else on some that are not there."""
    missing = {"workflow": uuid4(), "project": "p-unknown"}
    filled = path.format_map({"id": names.get(row.about, uuid4()), "execution_id": names.get("letter", uuid4())})
    body = orjson.dumps(row.body)
    for name, value in {**missing, **names}.items():
        body = body.replace(b"{%s}" % name.encode(), str(value).encode())
    headers = {"Authorization": "" if key is None else f"Bearer {key}", **row.headers}
    content = None if row.body is None else body
    place = filled.removeprefix("/")
    if path == "/logs/stream/":  # it stays open
        async with api.client.stream(method, place, headers=headers) as answer:
            if answer.is_error:
                await answer.aread()
            return answer
    return await api.client.request(method, place, content=content, headers=headers, params=row.query)


async def test_the_table_has_each_endpoint_and_no_other(api: Api) -> None:
    routes = list(iter_route_contexts(create_app(api.services).routes))
    served = {
        (method, str(one.path).removeprefix(PREFIX).replace("{id:path}", "{id}"))
        for one in routes
        for method in one.methods or ("of what is mounted",)
    }

    assert set(TABLE) == served - {("HEAD", "/openapi.json")}


async def test_the_description_says_which_endpoints_need_a_key_and_how_they_refuse(api: Api) -> None:
    paths = (await api.get("openapi.json")).json()["paths"]

    for (method, path), row in TABLE.items():
        if path == "/openapi.json":
            continue
        described = paths[PREFIX + path][method.lower()]
        assert bool(described.get("security")) == bool(row.scope), path
        if row.scope:
            assert {"401", "403", "429"} <= set(described["responses"]), path


# --- who is nobody ----------------------------------------------------------------------------------------------


@pytest.fixture
async def strangers(api: Api) -> dict[str, str | None]:
    """What people without a good key come with."""
    expired, revoked, short = [await key(api, "admin") for _ in range(3)]
    async with api.database.transaction() as session:
        (await session.get_one(ApiKey, expired[0])).expires_at = utc_now() - timedelta(seconds=1)
    assert (await api.client.delete(f"api-keys/{revoked[0]}/")).status_code == 204
    return {
        "no key": None,
        "a wrong key": "ak_" + "A" * 43,
        "no key of ours at all": "x",
        "a part of a key": short[1][:-1],
        "the hash of a key": "ak_" + "0" * 64,
        "an expired key": expired[1],
        "a revoked key": revoked[1],
    }


@pytest.mark.parametrize(("method", "path", "row"), KEYED)
async def test_without_a_good_key_nobody_gets_in(
    api: Api, strangers: dict[str, str | None], method: str, path: str, row: Row
) -> None:
    for who, given in strangers.items():
        answer = await call(api, given, method, path, row)
        assert answer.status_code == 401, who
        assert answer.json()["type"] == "/problems/unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/health/live/", "/health/ready/", "/openapi.json"])
async def test_health_and_the_description_need_no_key(api: Api, path: str) -> None:
    assert (await call(api, None, "GET", path, TABLE["GET", path])).status_code == 200


@pytest.mark.parametrize("path", ["/webhooks/studio/", f"/webhooks/{uuid4()}/"])
async def test_a_webhook_is_not_opened_by_a_key(api: Api, path: str) -> None:
    _, admin = await key(api, "admin")

    answer = await call(api, admin, "POST", path, Row(None, body={}))

    assert answer.status_code in (401, 404)


# --- scopes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "row"), KEYED)
async def test_a_key_does_what_its_scopes_grant_and_nothing_else(api: Api, method: str, path: str, row: Row) -> None:
    for scope in GRANTS:
        _, given = await key(api, scope)
        answer = await call(api, given, method, path, row)
        if row.scope in GRANTS[scope]:
            assert answer.status_code not in (401, 403), scope
            assert answer.status_code < 500, scope
        else:
            assert answer.status_code == 403, scope
            assert answer.json()["type"] == "/problems/forbidden"
            assert repr(row.scope) in answer.json()["detail"]


async def test_scopes_add_up(api: Api) -> None:
    _, given = await key(api, "read", "events:write")

    for place, allowed in ((("GET", "/events/"), True), (("POST", "/events/"), True), (("POST", "/workflows/"), False)):
        answer = await call(api, given, *place, TABLE[place])
        assert (answer.status_code != 403) == allowed


# --- projects ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def foreign(api: Api) -> dict[str, object]:
    """One object of each kind in a project that is not ours, by kind."""
    workflow = await api.workflow(FOREIGN)
    execution = await api.execution(workflow, Status.WAITING)
    letter = await api.execution(workflow, Status.FAILED)
    child = await api.execution(workflow, Status.RUNNING, parent_id=execution, parent_step="wait")
    ids: dict[str, Any] = {name: uuid4() for name in ("trigger", "delivery", "alert", "silence", "integration", "step")}
    async with api.database.transaction() as session:
        session.add_all([
            Trigger(
                id=ids["trigger"],
                workflow_id=workflow,
                project_id=FOREIGN,
                trigger_type="WEBHOOK",
                config={"scheme": "standard"},
            ),
            WorkflowStep(
                id=ids["step"], workflow_id=workflow, identifier="wait", step_type="WAIT", order=1,
                config={"seconds": 1},
            ),
            Wait(execution_id=execution, project_id=FOREIGN, identifier="ask", kind="approval"),
            DeadLetter(
                execution_id=letter,
                workflow_id=workflow,
                project_id=FOREIGN,
                kind="custom",
                error_code="X",
                error_message="x",
            ),
            Delivery(
                id=ids["delivery"], key="k", type="execution.failed", execution_id=letter, project_id=FOREIGN,
                status="FAILED",
            ),
            ExecutionLog(execution_id=execution, project_id=FOREIGN, level="INFO", message="x"),
            Alert(id=ids["alert"], project_id=FOREIGN, rule="x", severity="WARNING", message="x"),
            Silence(
                id=ids["silence"], project_id=FOREIGN, until=utc_now() + timedelta(hours=1), created_by="api"
            ),
            Integration(
                id=ids["integration"], name="crm", type="http", project_id=FOREIGN,
                config={"base_url": "https://crm.example"},
            ),
            Event(
                id="evt-1", type="page.updated", project_id=FOREIGN, occurred_at=utc_now(), received_at=utc_now(),
                source="api", data={},
            ),
        ])  # fmt: skip
    key_id, _ = await key(api, "read", project_id=FOREIGN)
    return {
        **ids,
        "workflow": workflow,
        "execution": execution,
        "letter": letter,
        "child": child,
        "event": "evt-1",
        "project": FOREIGN,
        "api-key": key_id,
    }


def shape(answer: Response, named: object) -> dict[str, Any]:
    """A problem without what differs from request to request: the id that was asked for, and the request's."""
    plain = answer.json() | {"request_id": ""}
    return plain | {"detail": plain["detail"].replace(str(named), "…")}


@pytest.mark.parametrize(("method", "path", "row"), ABOUT_ONE)
async def test_what_belongs_to_another_project_is_answered_like_what_is_not_there(
    api: Api, foreign: dict[str, object], method: str, path: str, row: Row
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    unknown: object = {"project": "p-unknown", "event": "evt-unknown"}.get(row.about, uuid4())

    theirs = await call(api, given, method, path, row, **foreign)
    nobodys = await call(api, given, method, path, row, **{row.about: unknown})

    assert theirs.status_code == nobodys.status_code == 404
    assert shape(theirs, foreign[row.about]) == shape(nobodys, unknown)


@pytest.mark.parametrize(("method", "path", "row"), ABOUT_ONE)
@pytest.mark.parametrize("header", [{"If-Match": "*"}, {"If-Match": '"of-another"'}, {"Idempotency-Key": "theirs"}])
async def test_no_header_tells_what_another_project_has(
    api: Api, foreign: dict[str, object], method: str, path: str, row: Row, header: dict[str, str]
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    _, theirs = await key(api, "admin", project_id=FOREIGN)
    row = replace(row, headers=header)
    unknown: object = {"project": "p-unknown", "event": "evt-unknown"}.get(row.about, uuid4())
    if method == "POST":  # so that there is an answer that could be repeated
        await call(api, theirs, method, path, row, **foreign)

    answer = await call(api, given, method, path, row, **foreign)

    assert answer.status_code == 404
    assert REPLAYED not in answer.headers
    assert "etag" not in answer.headers
    nobodys = await call(api, given, method, path, row, **{row.about: unknown})
    assert shape(answer, foreign[row.about]) == shape(nobodys, unknown)


@pytest.mark.parametrize(("method", "path", "row"), ABOUT_ONE)
async def test_its_own_people_find_it(api: Api, foreign: dict[str, object], method: str, path: str, row: Row) -> None:
    """Else the test before would show nothing."""
    _, given = await key(api, "admin", project_id=FOREIGN)

    if path.endswith("/stream/"):
        return  # it stays open; tests/integration/api/test_stream.py, test_log_stream.py
    assert (await call(api, given, method, path, row, **foreign)).status_code != 404


@pytest.mark.parametrize(("method", "path", "row"), of("list"))
@pytest.mark.parametrize("query", [{}, {"project_id": FOREIGN}, {"project_id": "p-unknown"}])
async def test_lists_leave_out_what_belongs_to_another_project_whatever_they_are_asked(
    api: Api, foreign: dict[str, object], method: str, path: str, row: Row, query: dict[str, str]
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    answer = await call(api, given, method, path, Row(row.scope, query=query))

    assert answer.status_code == 200
    # of the audit and the keys there is the making of this very key
    assert {one["project_id"] for one in answer.json()["results"]} <= {OWN}
    assert path in ("/audit/", "/api-keys/") or answer.json()["results"] == []
    theirs = await api.get(path.removeprefix("/"), project_id=FOREIGN)
    assert theirs.json()["results"], "there is something to be left out"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/executions/", {"workflow_id": "workflow"}),
        ("/executions/", {"parent_id": "execution"}),
        ("/triggers/", {"workflow_id": "workflow"}),
        ("/deliveries/", {"execution_id": "letter"}),
        ("/audit/", {"object_id": "api-key"}),
    ],
)
async def test_nobody_finds_by_its_id_what_belongs_to_another_project(
    api: Api, foreign: dict[str, object], path: str, query: dict[str, str]
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    wanted = {name: str(foreign[kind]) for name, kind in query.items()}

    answer = await call(api, given, "GET", path, Row("read", query=wanted))

    assert (answer.status_code, answer.json()["results"]) == (200, [])
    assert (await api.get(path.removeprefix("/"), **wanted)).json()["results"], "there is something to be found"


async def test_of_the_triggers_that_an_event_met_those_of_the_platform_are_not_told(api: Api) -> None:
    """What the platform's conditions are would show in the reason why one did not fire."""
    workflow, platform = await api.workflow(OWN), await api.workflow(None)
    conditions = {"field": "data.page.id", "operator": "==", "value": "of the platform"}
    common: dict[str, Any] = {"trigger_type": "EVENT", "event_type": "page.updated"}
    async with api.database.transaction() as session:
        session.add(Trigger(id=UUID(int=1), workflow_id=workflow, project_id=OWN, **common))
        session.add(Trigger(id=UUID(int=2), workflow_id=platform, project_id=None, conditions=conditions, **common))
    _, given = await key(api, "admin", project_id=OWN)
    assert (await api.post("events/", page_event(OWN, id="evt-2"))).status_code == 202

    answer = await call(api, given, "GET", "/events/{id}/", TABLE["GET", "/events/{id}/"], event="evt-2")

    told = {one["trigger_id"] for one in answer.json()["triggers"]}
    assert str(UUID(int=1)) in told
    assert "of the platform" not in answer.text
    assert str(UUID(int=2)) not in told
    everything = (await api.get("events/evt-2/")).json()["triggers"]
    assert str(UUID(int=2)) in {one["trigger_id"] for one in everything}
    async with api.database.transaction() as session:
        await session.execute(delete(Trigger).where(Trigger.id.in_((UUID(int=1), UUID(int=2)))))
    answer = await call(api, given, "GET", "/events/{id}/", TABLE["GET", "/events/{id}/"], event="evt-2")
    assert {one["trigger_id"] for one in answer.json()["triggers"]} & {str(UUID(int=1)), str(UUID(int=2))} == {
        str(UUID(int=1))
    }


@pytest.mark.parametrize(("method", "path", "row"), of("new"))
async def test_nothing_is_put_into_another_project_and_nobody_learns_whether_it_is_there(
    api: Api, foreign: dict[str, object], method: str, path: str, row: Row
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    unknown = {"workflow": uuid4(), "project": "p-unknown"}

    theirs = await call(api, given, method, path, row, **foreign)
    nobodys = await call(api, given, method, path, row, **unknown)

    assert theirs.status_code == nobodys.status_code == 404
    named = "workflow" if path == "/triggers/" else "project"
    assert shape(theirs, foreign[named]) == shape(nobodys, unknown[named])


@pytest.mark.parametrize("path", ["/workflows/", "/integrations/", "/api-keys/", "/silences/"])
async def test_nothing_is_put_into_the_whole_platform_by_who_sees_one_project(api: Api, path: str) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    row = TABLE["POST", path]

    answer = await call(api, given, "POST", path, Row(row.scope, body=row.body | {"project_id": None}))

    assert (answer.status_code, answer.json()["field"]) == (422, "project_id")


@pytest.mark.parametrize(
    ("path", "narrowed"),
    [
        *product(MANY, ({}, {"project_id": FOREIGN})),
        ("/executions/retry/", {"ids": ["{letter}"]}),
        ("/executions/retry/", {"workflow_id": "{workflow}"}),
        ("/executions/cancel/", {"workflow_id": "{workflow}"}),
        ("/dead-letters/redrive/", {"ids": ["{letter}"]}),
    ],
)
async def test_many_are_never_those_of_another_project(
    api: Api, foreign: dict[str, object], path: str, narrowed: dict[str, Any]
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    row = TABLE["POST", path]

    answer = await call(api, given, "POST", path, replace(row, body=row.body | narrowed), **foreign)

    assert answer.status_code == 202
    assert answer.json() == {"count": 0, "executions": [], "left": 0}
    for name, status in (("execution", Status.WAITING), ("letter", Status.FAILED)):
        one: Execution = await api.stored(UUID(str(foreign[name])))
        assert one.status == status


async def test_an_event_id_that_another_project_has_used_tells_nothing_of_what_it_did(
    api: Api, foreign: dict[str, object]
) -> None:
    _, given = await key(api, "admin", project_id=OWN)
    async with api.database.transaction() as session:
        (await session.get_one(Event, "evt-1")).execution_ids = [UUID(str(foreign["execution"]))]

    answer = await call(api, given, "POST", "/events/", Row("events:write", body=page_event(OWN, id="evt-1")))

    assert answer.json()["events"] == [{"id": "evt-1", "duplicate": True, "executions": []}]


async def test_the_platforms_own_workflows_are_not_for_who_sees_one_project(api: Api) -> None:
    platform = await api.workflow(None, kind="cleanup")
    _, given = await key(api, "admin", project_id=OWN)

    for place in (("GET", "/workflows/{id}/"), ("POST", "/workflows/{id}/execute/"), ("PATCH", "/workflows/{id}/")):
        assert (await call(api, given, *place, TABLE[place], workflow=platform)).status_code == 404
