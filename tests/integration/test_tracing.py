"""Traces, as a collector receives them over OTLP/HTTP."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from automation import egress, neighbours, tracing
from automation.api.execution_answers import shown
from automation.callback import receivers
from automation.callback.loop import Callback
from automation.callback.tell import executions_ended
from automation.database import Database
from automation.errors import ValidationError
from automation.intake import accept, parse_events
from automation.models import Execution, Status, StepExecution, Trigger
from automation.requests import NOWHERE, Origin
from automation.settings import Settings, get_settings
from automation.steps import Result, StepContext
from tests.integration import web
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep, failing
from tests.integration.rows import every, execution, workflow, write

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@dataclass(frozen=True)
class Span:
    """A span as the collector has it; ids in hexadecimal digits."""

    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.id}-01"


@dataclass
class Collector:
    """Everything that was exported."""

    web: web.Web

    async def spans(self) -> list[Span]:
        """All spans, after the tracing has ended."""
        await asyncio.to_thread(tracing.shut_down)
        assert {one.target for one in self.web.seen} <= {"/v1/traces"}
        found = []
        for seen in self.web.seen:
            for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                assert (names["service.name"], names["automation.part"]) == ("automation", "test")
                found += [_span(one) for scope in resource.scope_spans for one in scope.spans]
        return found


def _span(one: Any) -> Span:
    attributes = {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in one.attributes}
    ids = (one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex())
    return Span(one.name, *ids, failed=one.status.code == 2, attributes=attributes)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """This process traces, to a collector of its own."""
    async with web.serving() as server:
        server.answers["/v1/traces"] = web.response(200, b"", content_type="application/x-protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url(""))
        tracing.set_up("test")
        NOWHERE.take_up()
        yield Collector(server)
        await asyncio.to_thread(tracing.shut_down)
        NOWHERE.take_up()


async def accepted(database: Database, trace: str = "") -> None:
    """A page event, as a request brings it."""
    data = {"project_id": "p1", "page": {"id": "home", "name": "Home", "route": "/", "config": {}}}

    async def take_in() -> None:
        Origin("req-1", trace).take_up()
        events = parse_events({"id": "e1", "type": "page.updated", "data": data})
        await accept(database, events, source="api", settings=get_settings())

    await asyncio.create_task(take_in())


async def started(database: Database, workflow_id: UUID) -> Execution:
    [found] = [one for one in await every(database, Execution) if one.workflow_id == workflow_id]
    assert isinstance(found, Execution)
    return found


async def test_an_event_its_execution_its_steps_and_their_calls_are_one_trace(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep, collector: Collector
) -> None:
    async with web.serving() as neighbour:
        neighbour.answers["/near/"] = web.response(200, b"{}")
        neighbour.answers["/far"] = web.response(201, b"{}")
        settings = Settings(egress_allow=("127.0.0.1",))

        async def call(step: StepContext) -> Result:
            await neighbours.call(settings, "PUT", neighbour.url("/near/"), json={})
            await egress.request(settings, "POST", neighbour.url("/far?token=hunter2"))
            return {}

        workflow_id = await workflow(database, make("CALL", call))
        on_update = Trigger(
            workflow_id=workflow_id, project_id="p1", trigger_type="ON_PAGE_UPDATE", event_type="page.updated"
        )
        await write(database, on_update)
        await accepted(database, PARENT)
        mine = await started(database, workflow_id)
        flow_run = await carry(prefect, mine.id)
        await run(prefect, flow_run)
        spans = {one.name: one for one in await collector.spans()}
        near, far = neighbour.seen

    event, executed, step = spans["event page.updated"], spans["execution publish"], spans["step CALL"]
    assert {one.trace for one in spans.values()} == {"a" * 32}
    assert (event.parent, executed.parent, step.parent) == ("b" * 16, event.id, executed.id)
    assert mine.traceparent == event.traceparent
    assert event.attributes["automation.event.id"] == "e1"
    [recorded] = await every(database, StepExecution)
    assert executed.attributes["automation.execution.id"] == str(mine.id)
    assert executed.attributes["automation.request.id"] == "req-1"
    assert executed.attributes["prefect.flow_run.id"] == str(flow_run.id)
    assert step.attributes["prefect.task_run.id"] == str(recorded.task_run_id)
    called = {"PUT": near, "POST": far}
    for method, status in (("PUT", 200), ("POST", 201)):
        one = spans[f"{method} 127.0.0.1"] if method == "POST" else spans[f"PUT 127.0.0.1:{neighbour.port}"]
        assert (one.parent, one.attributes["http.response.status_code"]) == (step.id, status)
        assert called[method].headers["traceparent"] == one.traceparent
    assert "hunter2" not in str(spans)


async def test_what_fails_is_marked_and_tells_no_secret(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep, collector: Collector
) -> None:
    workflow_id = await workflow(database, make("BREAK", failing(ValidationError("password=hunter2 is wrong"))))
    id_ = await execution(database, workflow_id)
    await run(prefect, await carry(prefect, id_))

    spans = {one.name: one for one in await collector.spans()}
    for name in ("execution publish", "step BREAK"):
        assert spans[name].failed
        assert spans[name].attributes["error.type"] == "VALIDATION_ERROR"
    assert spans["execution publish"].parent == ""  # nobody began a trace: it is one of its own
    assert spans["step BREAK"].trace == spans["execution publish"].trace
    assert "hunter2" not in str(spans)


async def test_studio_is_told_in_the_trace_of_what_it_is_told_of(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep, collector: Collector
) -> None:
    workflow_id = await workflow(database, make("QUIET"))
    async with web.serving() as studio:
        studio.answers["/told"] = web.response(204)
        secret = SecretStr("whsec_" + "c2VjcmV0" * 4)
        settings = Settings(studio_callback_url=studio.url("/told"), studio_callback_secret=secret)
        id_ = await execution(database, workflow_id, traceparent=PARENT, status=Status.COMPLETED)
        async with database.transaction() as session:
            await executions_ended(session, settings, [id_])
        callback = Callback(database, receivers.studio(settings, shown))
        async with callback._client() as client:
            assert await callback.round(client) == 1
    [span] = await collector.spans()

    assert (span.trace, span.parent) == ("a" * 32, "b" * 16)
    assert studio.seen[0].headers["traceparent"] == span.traceparent


async def test_without_an_endpoint_a_trace_is_handed_on_and_no_span_made(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async with web.serving() as neighbour:
        neighbour.answers["/near/"] = web.response(200, b"{}")

        async def call(step: StepContext) -> Result:
            await neighbours.call(Settings(), "GET", neighbour.url("/near/"))
            return {}

        workflow_id = await workflow(database, make("CALL", call))
        for trace in (PARENT, ""):
            id_ = await execution(database, workflow_id, traceparent=trace)
            await run(prefect, await carry(prefect, id_))

    assert [one.headers.get("traceparent") for one in neighbour.seen] == [PARENT, None]


def test_without_an_endpoint_nothing_of_the_sdk_is_imported() -> None:
    code = (
        "import sys; from automation import tracing; tracing.set_up('x'); "
        "import automation.engine; sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_collector_that_never_answers_keeps_no_process_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        answered.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        tracing.set_up("test")
        with tracing.call("GET", "host"):
            pass
        async with asyncio.timeout(20):  # the SDK itself would wait for 30 s
            await asyncio.to_thread(tracing.shut_down)
        assert asked.is_set()
        over.set()
        await answered.wait()


def test_an_endpoint_without_the_packages_is_told_and_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    tracing.set_up("x")

    assert "pip install 'automation[otel]'" in caplog.text
    with tracing.call("GET", "host") as called:
        assert called.headers == {}
