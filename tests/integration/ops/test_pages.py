"""What the pages show: to whom, of what, escaped and without secrets."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from automation.models import (
    Alert,
    Base,
    DeadLetter,
    Delivery,
    Event,
    Execution,
    ExecutionAttempt,
    ExecutionLog,
    FlowRun,
    ResourceSample,
    Silence,
    Status,
    StepAttempt,
    StepExecution,
    Trigger,
    Wait,
    WorkflowStep,
    WorkflowVersion,
    utc_now,
)
from tests.integration.api.serving import Api
from tests.integration.monitoring.ending import ended
from tests.integration.ops.visiting import Visitor, key_of
from tests.integration.rows import write
from tests.integration.statements import statements
from tests.unit.runtime.reading import ADDRESSES, read

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}&lt;"


async def everything(api: Api, text: str = "plain", project_id: str = "p1") -> UUID:
    """One of all that a page can show, with a text in each place where people or programs write one; the execution."""
    workflow_id = await api.workflow(project_id, kind=text[:50], name=text)
    values: dict[str, Any] = {
        "key": text, "event_id": text, "event_type": text, "trigger_type": text[:50], "error_message": text,
        "error_code": text[:50], "trigger_data": {text: text}, "result": {text: text}, "attempt": 2,
        "workflow_version": 1, "started_at": utc_now(), "completed_at": utc_now(), "degraded": True,
    }  # fmt: skip
    run = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="x", process=text, state="COMPLETED")
    await write(api.database, run)
    id_ = await api.execution(workflow_id, Status.FAILED, flow_run_id=run.id, **values)
    running = await api.execution(workflow_id, Status.RUNNING, **{**values, "key": text + "2"})
    planned = {"identifier": text, "step_type": text, "order": 1, "depends_on": [], "is_required": True}
    step: dict[str, Any] = {"identifier": text, "step_type": text[:50], "order": 1}
    now = {"started_at": utc_now(), "error_message": text, "error_code": text[:50]}
    await write(
        api.database,
        WorkflowStep(workflow_id=workflow_id, **step),
        WorkflowVersion(workflow_id=workflow_id, version=1, definition={"steps": [planned]}),
        StepExecution(execution_id=id_, status="FAILED", result={text: text}, duration_ms=3.0, **step, **now),
        StepExecution(execution_id=running, status="RUNNING", progress=0.5, progress_message=text, **step, **now),
        StepAttempt(execution_id=id_, identifier=text, attempt=1, status="FAILED", **now),
        ExecutionAttempt(
            execution_id=id_, attempt=1, status="FAILED", asked_by=text, reason=text, from_step=text[:100],
            failed_step=text[:100], error_message=text, error_code=text[:50],
        ),
        ExecutionLog(execution_id=id_, step_identifier=text[:100], level="ERROR", message=text, details={text: text}),
        Wait(
            execution_id=id_, project_id=project_id, identifier=text[:100], kind="approval", message=text,
            resolved_by=text, comment=text,
        ),
        DeadLetter(
            execution_id=id_, workflow_id=workflow_id, project_id=project_id, kind=text[:50], failed_step=text[:100],
            error_code=text[:50], error_message=text,
        ),
        Delivery(key=f"{text} {id_}", type=text[:50], project_id=project_id, execution_id=id_, last_error=text),
        Alert(
            rule=text[:100], severity="WARNING", message=text, project_id=project_id, execution_id=id_,
            details={"threshold": text}, comment=text, acknowledged_by=text, acknowledged_at=utc_now(),
        ),
        Silence(
            rule=text[:100], fingerprint=text, project_id=project_id, created_by=text, comment=text,
            until=utc_now() + timedelta(hours=1),
        ),
        Trigger(workflow_id=workflow_id, project_id=project_id, trigger_type="EVENT", event_type=text, config={}),
        Event(
            id=f"{project_id} {text}", type=text[:100], project_id=project_id, occurred_at=utc_now(), source="api",
            data={text: text}, decisions=[],
        ),
    )  # fmt: skip
    return id_


def pages_of(id_: UUID, event_id: str) -> list[str]:
    """All pages, and the parts that are fetched by themselves."""
    return [
        "", "live/", "history/", "history/?window=90d", "executions/", "executions/?status=FAILED", "events/",
        f"event/?{urlencode({'id': event_id})}", "dead-letters/", "deliveries/", "approvals/", "alerts/",
        f"executions/{id_}/", f"executions/{id_}/live/", f"executions/{id_}/acts/", f"executions/{id_}/logs/",
    ]  # fmt: skip


# --- escaped, without secrets, with their headers -----------------------------------------------------------------


async def test_nothing_that_anybody_wrote_is_markup(operator: Visitor) -> None:
    id_ = await everything(operator.api, HOSTILE)

    for path in pages_of(id_, f"p1 {HOSTILE}"):
        page = read(await operator.page(path))
        for name, attributes in page.elements:
            assert name != "img", path
            assert name != "script" or attributes["src"].startswith("/ops/static/ops.js?v="), path
            assert not [one for one in attributes if one.startswith("on") or one == "style"], (path, name)
            for attribute in ADDRESSES & attributes.keys():
                address = attributes[attribute]
                assert address.startswith(("/ops/", "#", "http://127.0.0.1")) or name == "path", (path, address)


async def test_what_is_in_the_address_is_no_markup_either(operator: Visitor) -> None:
    query = urlencode({"project_id": HOSTILE, "kind": HOSTILE, "q": HOSTILE, "done": HOSTILE, "id": HOSTILE})

    for path in ("executions/", "dead-letters/", "alerts/", "find/", "event/", "login/", "nothing/", "history/"):
        answer = await operator.get(f"{path}?{query}")
        assert "<script>alert" not in answer.text, path
        assert "onerror=alert(1)>" not in answer.text, path


async def test_secrets_are_hidden_wherever_they_stand(operator: Visitor) -> None:
    api, secret = operator.api, "hunter2hunter2"
    workflow_id = await api.workflow()
    text = f"login failed: password={secret} at https://user:{secret}@crm.example/"
    data = {"api_key": secret, "page": {"Authorization": f"Bearer {secret}"}}
    id_ = await api.execution(
        workflow_id, Status.FAILED, trigger_data=data, result=data, error_message=text, error_code="NETWORK_ERROR"
    )
    await write(
        api.database,
        StepExecution(
            execution_id=id_, identifier="a", step_type="A", order=1, status="FAILED", result=data, error_message=text
        ),
        ExecutionLog(execution_id=id_, level="ERROR", message=text),
        DeadLetter(
            execution_id=id_, workflow_id=workflow_id, project_id="p1", kind="custom", error_code="X",
            error_message=text,
        ),
        Event(id="e", type="t", project_id="p1", occurred_at=utc_now(), source="api", data=data, decisions=[]),
        Alert(rule="r", severity="WARNING", state="FIRING", message=text, project_id="p1"),
        Delivery(key="d", type="t", project_id="p1", last_error=text),
    )  # fmt: skip

    for path in pages_of(id_, "e"):
        page = await operator.page(path)
        assert secret not in page, path
    assert "[redacted]" in await operator.page(f"executions/{id_}/")


async def test_every_answer_forbids_what_is_foreign(operator: Visitor) -> None:
    style = next(
        attributes["href"].removeprefix("/ops/") for name, attributes in read(await operator.page()).elements
        if name == "link" and attributes["rel"] == "stylesheet"
    )  # fmt: skip
    for path in (
        "", "login/", "nothing/", "executions/x/", style, "static/ops.css", "static/ops.css?v=another",
        "static/nothing", f"alerts/{uuid4()}/",
    ):  # fmt: skip
        headers = (await operator.get(path)).headers
        policy = dict(one.strip().split(" ", 1) for one in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        expected = "public, max-age=31536000, immutable" if path == style else "no-store"
        assert headers["cache-control"] == expected, path


async def test_the_api_beside_the_pages_answers_as_ever(operator: Visitor) -> None:
    assert (await operator.api.get("executions/")).status_code == 200
    answer = await operator.client.get(f"{operator.api.url}executions/")
    assert answer.status_code == 401, "the cookie opens the pages alone"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await operator.client.get(f"{operator.origin}/ops")).headers["location"] == "/ops/"


# --- whose ------------------------------------------------------------------------------------------------------------


async def test_a_key_of_one_project_sees_nothing_of_another(stranger: Visitor) -> None:
    other, own = await everything(stranger.api, "foreign"), await everything(stranger.api, "domestic", "p2")
    async with stranger.api.database.transaction() as session:
        alert_id = await session.scalar(select(Alert.id).where(Alert.project_id == "p1"))
    await stranger.sign_in((await key_of(stranger.api, "read", project_id="p2"))["key"])

    for path in pages_of(own, "p2 domestic"):
        page = await stranger.page(path)
        assert "foreign" not in page, path
    for path in (
        f"executions/{other}/", f"executions/{other}/live/", f"executions/{other}/acts/",
        f"executions/{other}/logs/", f"executions/{other}/stream/", "event/?id=p1+foreign",
        f"alerts/{alert_id}/", f"find/?q={other}", "find/?q=p1+foreign", "find/?q=p1",
    ):  # fmt: skip
        assert (await stranger.get(path)).status_code == 404, path
    for path in ("executions/", "events/", "dead-letters/", "deliveries/", "alerts/"):
        assert "foreign" not in await stranger.page(path, project_id="p1"), path
    now = await stranger.page()
    assert "domestic" in now
    assert 'id="processes"' not in now, "what concerns the platform is not theirs"
    assert 'id="used"' not in await stranger.page("history/")


async def test_a_key_of_one_project_sees_how_that_project_went_over_time(stranger: Visitor) -> None:
    mine, other = await stranger.api.workflow("p2"), await stranger.api.workflow("p1", kind="foreign")
    now = utc_now()
    for minutes in (2, 2, 50):
        await ended(stranger.api.database, mine, at=now - timedelta(minutes=minutes))
    await ended(stranger.api.database, other)
    await stranger.sign_in((await key_of(stranger.api, "read", project_id="p2"))["key"])

    page = await stranger.page("history/", window="1h")

    elements = read(page).elements
    assert len([1 for name, attributes in elements if attributes.get("id", "").startswith("over-")]) == 1
    assert len([1 for name, attributes in elements if name == "rect" and "completed" in attributes["class"]]) == 2
    assert "latest 10,000 executions" in page


# --- one by one ------------------------------------------------------------------------------------------------


async def test_every_number_of_the_first_page_leads_to_its_list(operator: Visitor) -> None:
    await everything(operator.api)
    links = {
        attributes["href"] for name, attributes in read(await operator.page()).elements
        if name == "a" and attributes["href"].startswith("/ops/")
    }  # fmt: skip

    assert {"/ops/executions/?status=RUNNING", "/ops/dead-letters/", "/ops/approvals/"} <= links
    for link in links:
        assert (await operator.client.get(operator.origin + link)).status_code in (200, 303), link


async def test_the_number_of_alerts_counts_those_that_are_not_shown_too(operator: Visitor) -> None:
    firing = {"severity": "WARNING", "message": "m", "state": "FIRING"}
    await write(operator.api.database, *(Alert(rule="r", fingerprint=str(n), **firing) for n in range(25)))

    page = await operator.page()

    assert page.count('<li class="alert">') == 20
    assert re.search(r'href="/ops/alerts/\?state=FIRING" class="bad">.*?25</span>', page)
    assert ">all 25</a>" in page


async def test_what_processes_used_stands_at_its_time_and_those_of_long_ago_are_left_out(operator: Visitor) -> None:
    now = utc_now()
    await write(
        operator.api.database,
        *(
            ResourceSample(
                at=now - timedelta(minutes=minutes), role=role, host="h", pid=pid, cpu=0.5, memory_bytes=1_000_000
            )
            for role, pid, minutes in [("service", 1, 1), ("worker", 2, 58), *(("child", n, n) for n in range(3, 43))]
        ),
    )  # fmt: skip

    page = await operator.page("history/", window="1h")

    shown = [
        attributes["aria-label"].removeprefix("CPU of ").removesuffix(" over time")
        for _, attributes in read(page).elements
        if attributes.get("aria-label", "").startswith("CPU of ")
    ]
    assert shown == ["service h:1", "worker h:2", *(f"child h:{n}" for n in range(3, 31))]
    assert "the 30 heard of last, of 42" in page
    lines = re.findall(r'class="line used" d="M([\d.]+) ', page)
    assert float(lines[0]) > 950, "a minute ago"
    assert float(lines[2]) < 50, "an hour ago; each has two lines, CPU and memory"


async def test_what_runs_is_shown_with_its_progress_and_when_it_will_be_done(operator: Visitor) -> None:
    api = operator.api
    workflow_id = await api.workflow()
    steps = [
        {"identifier": name, "step_type": "ECHO", "order": n, "depends_on": [], "is_required": True}
        for n, name in enumerate(("first", "second"))
    ]
    await write(api.database, WorkflowVersion(workflow_id=workflow_id, version=1, definition={"steps": steps}))
    for _ in range(5):
        past = await api.execution(workflow_id, Status.COMPLETED, completed_at=utc_now())
        for name in ("first", "second"):
            of = {"execution_id": past, "identifier": name, "step_type": "ECHO", "order": 1}
            await write(api.database, StepExecution(**of, status="COMPLETED", duration_ms=3_600_000.0))
    id_ = await api.execution(workflow_id, Status.RUNNING, started_at=utc_now(), workflow_version=1)
    await write(
        api.database,
        StepExecution(execution_id=id_, identifier="first", step_type="ECHO", order=1, status="COMPLETED"),
        StepExecution(
            execution_id=id_, identifier="second", step_type="ECHO", order=2, status="RUNNING", progress=0.5,
            progress_message="page 5 of 10", started_at=utc_now() - timedelta(minutes=30),
        ),
    )  # fmt: skip

    page = await operator.page("live/")

    assert '<progress max="1" value="0.75"' in page
    assert "page 5 of 10" in page
    assert "29 min" in page or "30 min" in page


async def test_an_execution_is_drawn_with_its_graph_timeline_and_data(operator: Visitor) -> None:
    id_ = await everything(operator.api, "step-7")

    page = await operator.page(f"executions/{id_}/")

    for part in ("Graph", "Timeline", "Earlier tries", "Waits", "Log", "Input", "Result", "Prefect"):
        assert part in page, part
    assert 'class="node s-FAILED"' in page
    assert page.count('class="bar s-FAILED past"') == 1
    assert "/runs/flow-run/" in page


async def test_an_event_tells_which_triggers_fired_and_why_the_others_did_not(operator: Visitor) -> None:
    api = operator.api
    workflow_id = await api.workflow()
    fired = Trigger(workflow_id=workflow_id, project_id="p1", trigger_type="EVENT", event_type="order.*", config={})
    deaf = Trigger(workflow_id=workflow_id, project_id="p1", trigger_type="EVENT", event_type="page.*", config={})
    await write(api.database, fired, deaf)
    execution_id = await api.execution(workflow_id)
    decision = {"trigger_id": str(fired.id), "outcome": "fired", "execution_id": str(execution_id)}
    await write(
        api.database,
        Event(
            id="e/1?&#", type="order.created", project_id="p1", occurred_at=utc_now(), source="api", data={},
            decisions=[decision],
        ),
    )  # fmt: skip

    listed = await operator.page("events/")
    assert "/ops/event/?id=e%2F1%3F%26%23" in listed
    assert "odd==" in (await operator.get("event/?id=odd==")).text, "looked for as it is, and not there"
    page = await operator.page("event/", id="e/1?&#")

    assert f"/ops/executions/{execution_id}/" in page
    assert page.index("fired") < page.index("not heard")
    assert "EVENT hears page.*, not order.created" in page


async def test_a_log_is_narrowed_by_level_step_and_text_and_read_backwards(operator: Visitor) -> None:
    api = operator.api
    id_ = await api.execution(await api.workflow())
    begin = utc_now()
    lines = [("INFO", "a", f"line {n} of many") for n in range(250)] + [("ERROR", "b", "no such page")]
    await write(
        api.database,
        *(
            ExecutionLog(
                execution_id=id_, level=level, step_identifier=step, message=message,
                timestamp=begin + timedelta(seconds=n),
            )
            for n, (level, step, message) in enumerate(lines)
        ),
    )  # fmt: skip

    async def messages(**wanted: str) -> str:
        return await operator.page(f"executions/{id_}/logs/", **wanted)

    end = await messages()
    assert "no such page" in end
    assert "line 51 of many" in end
    assert "line 50 of many" not in end, "200 lines at a time, the newest first"
    assert "line" not in await messages(level="WARNING", step="", text="")
    assert "line" not in await messages(step="b")
    assert "line 7 of many" in await messages(text="LINE 7 ")
    earlier = next(
        attributes["href"] for name, attributes in read(end).elements if name == "a" and "cursor=" in attributes["href"]
    )
    assert "line 50 of many" in (await operator.client.get(operator.origin + earlier)).text


async def test_who_is_signed_in_watches_an_execution_live(operator: Visitor) -> None:
    api = operator.api
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    told = []

    async with operator.client.stream("GET", f"{operator.origin}/ops/executions/{id_}/stream/") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(20):
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    told.append(line.removeprefix("event: "))
                    if told == ["snapshot"]:
                        async with api.database.transaction() as session:
                            await session.execute(update(Execution).values(status=Status.COMPLETED))

    assert told == ["snapshot", "change", "end"]


async def test_an_id_leads_to_what_has_it(operator: Visitor) -> None:
    id_ = await everything(operator.api, "text")

    for wanted, place in (
        (str(id_), f"/ops/executions/{id_}/"), ("p1 text", "/ops/event/?id=p1+text"),
        ("p1", "/ops/executions/?project_id=p1"), ("", "/ops/executions/"),
    ):  # fmt: skip
        answer = await operator.get("find/", q=wanted)
        assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert (await operator.get("find/", q="nothing")).status_code == 404


async def test_a_page_is_in_the_language_that_the_browser_asks_for(operator: Visitor) -> None:
    for accepted, language, word in (("fr-FR,fr;q=0.9", "fr", "Historique"), ("en", "en", "History"), ("de", "en", "")):
        answer = await operator.client.get(f"{operator.origin}/ops/history/", headers={"Accept-Language": accepted})
        assert f'<html lang="{language}">' in answer.text
        assert word in answer.text


async def test_lists_go_on_and_back_and_keep_their_filters(operator: Visitor) -> None:
    workflow_id = await operator.api.workflow()
    ids = await operator.api.executions(workflow_id, 60)

    first = await operator.page("executions/", status="PENDING", project_id="p1", kind="")
    (older,) = [attributes["href"] for name, attributes in read(first).elements if attributes.get("rel") == "next"]
    second = (await operator.client.get(operator.origin + older)).text

    assert "status=PENDING" in older
    assert [str(id_) in first for id_ in ids] == [True] * 50 + [False] * 10
    assert [str(id_) in second for id_ in ids] == [False] * 50 + [True] * 10
    assert 'rel="prev"' in second


async def test_what_is_not_there_is_said_in_a_page(operator: Visitor) -> None:
    for path, status in (
        (f"executions/{uuid4()}/", 404), ("executions/x/", 422), ("nothing/", 404), ("executions/?cursor=x", 422),
        ("executions/?status=SOMETHING", 422), ("history/?window=1y", 422), ("event/", 422), ("event/?id=x", 404),
    ):  # fmt: skip
        answer = await operator.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8", path
        assert f">{status}</p>" in answer.text


# --- what it costs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["live/", "executions/", "dead-letters/", "alerts/"])
async def test_more_of_it_takes_no_more_statements(operator: Visitor, path: str) -> None:
    await everything(operator.api)
    with statements(operator.api.database) as few:
        await operator.page(path)
    more: list[Base] = [Alert(rule="r", fingerprint=str(n), severity="WARNING", message="m") for n in range(10)]
    for n in range(10):
        workflow_id = await operator.api.workflow(f"p{n}")
        id_ = await operator.api.execution(workflow_id, Status.RUNNING, key=str(n), workflow_version=1)
        more.append(DeadLetter(execution_id=id_, workflow_id=workflow_id, kind="k", error_code="X", error_message="x"))
    await write(operator.api.database, *more)

    with statements(operator.api.database) as many:
        await operator.page(path)

    assert len(many) == len(few)
