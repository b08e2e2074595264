"""Traces: event → execution → step → outgoing call, as OpenTelemetry has them.

They are made when OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `otel` is installed; else nothing of OpenTelemetry
is imported, and a `traceparent` that somebody sends is only handed on. How many are made (OTEL_TRACES_SAMPLER…), where
they go and under which name is up to OpenTelemetry's own variables; docs/logs.md names those that matter.

A span's parent is always the `traceparent` that stands in `automation.requests`, or beside an execution: it survives
the queue, and nothing depends on OpenTelemetry's own context.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from automation.redaction import redact_text
from automation.requests import Origin, origin, traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SHOWN = 500
"""Characters of an error that a span shows."""
_PATIENCE = 3.0
"""Seconds that the last spans may take when a process ends; the SDK tries for 10 to 30, and we are killed after 10."""

_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None

Attributes = Mapping[str, str | int | bool]


class Happened(Protocol):
    """An event."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def project_id(self) -> str: ...


def set_up(part: str) -> None:
    """Have this process trace, if the environment asks for it. To be called after any fork."""
    global _provider, _tracer
    if not any(map(os.environ.get, _ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("%s is set and OpenTelemetry is not installed: pip install 'automation[otel]'", _ENDPOINTS[0])
        return
    attributes = {"automation.part": part}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "automation"
    # not the process' own provider: Prefect would make spans of its own in that, and a call to its server for each run
    _provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("automation")


def shut_down() -> None:
    """Send what is still to be sent, and trace no more. A collector that does not answer keeps nobody from ending."""
    global _provider, _tracer
    if _provider:
        sending = threading.Thread(target=_provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_PATIENCE)
    _provider = _tracer = None


@contextmanager
def received(events: Sequence[Happened], source: str) -> Iterator[Mapping[str, Origin]]:
    """Around taking in events: what each of them, by its id, is to leave beside what it starts."""
    here = origin()
    if _tracer is None:
        yield {event.id: here for event in events}
        return
    spans = {
        event.id: _begin(f"event {event.type}", here.traceparent, "CONSUMER", _of_event(event, source))
        for event in events
    }
    error: BaseException | None = None
    try:
        yield {id_: Origin(here.request_id, traceparent_of(span)) for id_, span in spans.items()}
    except BaseException as raised:
        error = raised
        raise
    finally:
        for span in spans.values():
            end(span, error)


def _of_event(event: Happened, source: str) -> Attributes:
    return {
        "automation.event.id": event.id,
        "automation.event.type": event.type,
        "automation.project.id": event.project_id,
        "automation.event.source": source,
    }


class Execution(Protocol):
    """An execution in the hands of a flow run; its `origin` is replaced by its own place in the trace."""

    origin: Origin

    @property
    def execution_id(self) -> Any: ...
    @property
    def workflow_id(self) -> Any: ...
    @property
    def workflow_name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def project(self) -> Any: ...
    @property
    def attempt(self) -> int: ...
    @property
    def error(self) -> BaseException | None: ...


@contextmanager
def executed(executions: Iterable[Execution], *, batch: bool) -> Iterator[None]:
    """Around running executions in a flow run: a span for each, under its event's; its steps belong to it."""
    if _tracer is None:
        yield
        return
    from prefect.runtime import flow_run

    spans = []
    for one in executions:
        of = _of_execution(one, batch) | {"prefect.flow_run.id": flow_run.id or ""}
        span = _begin(f"execution {one.kind}", one.origin.traceparent, "CONSUMER", of)
        one.origin = Origin(one.origin.request_id, traceparent_of(span))
        spans.append((one, span))
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        for one, span in spans:
            end(span, raised or one.error)


def _of_execution(one: Execution, batch: bool) -> dict[str, str | int | bool]:
    return {
        "automation.execution.id": str(one.execution_id),
        "automation.workflow.id": str(one.workflow_id),
        "automation.workflow.name": one.workflow_name,
        "automation.project.id": one.project.id,
        "automation.attempt": one.attempt,
        "automation.batch": batch,
        "automation.request.id": one.origin.request_id,
    }


def begin_step(step_type: str, context: Any, task_run_id: Any) -> "Span | None":
    """Begin a step's span, and work under it; to be ended with `end`."""
    if _tracer is None:
        return None
    attributes = {
        "automation.step": context.identifier,
        "automation.step.type": step_type,
        "automation.execution.id": str(context.execution_id),
        "prefect.task_run.id": str(task_run_id or ""),
    }
    span = _begin(f"step {step_type}", traceparent.get(), "INTERNAL", attributes)
    traceparent.set(traceparent_of(span))
    return span


@dataclass(slots=True)
class Call:
    """A request of ours under way.

    Attributes:
        headers: what it has to carry, so that who answers belongs to the trace; none without a trace.
        answered: to be told the status of the answer.
    """

    headers: dict[str, str]
    answered: Callable[[int], None]


@contextmanager
def call(method: str, host: str, parent: str | None = None) -> Iterator[Call]:
    """Around a request to another program; only its host is told of the address, the rest can hold secrets.

    Args:
        parent: the place in the trace that it belongs to; None: that of this task.
    """
    parent = traceparent.get() if parent is None else parent
    if _tracer is None:
        yield Call({"traceparent": parent} if parent else {}, _ignore)
        return
    span = _begin(f"{method} {host}", parent, "CLIENT", {"http.request.method": method, "server.address": host})
    error: BaseException | None = None
    try:
        yield Call(
            {"traceparent": traceparent_of(span)},
            lambda status: span.set_attribute("http.response.status_code", status),
        )
    except BaseException as raised:
        error = raised
        raise
    finally:
        end(span, error)


def _ignore(status: int) -> None:
    pass


def _begin(name: str, parent: str, kind: str, attributes: Attributes) -> "Span":
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

    assert _tracer is not None
    context = Context()
    if parent:
        _, trace, span, flags = parent.split("-")
        of = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
        context = set_span_in_context(NonRecordingSpan(of), context)
    given = {name: value for name, value in attributes.items() if value != ""}
    return _tracer.start_span(name, context, SpanKind[kind], given)


def traceparent_of(span: "Span") -> str:
    """A span's place in its trace, as the header spells it."""
    of = span.get_span_context()
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags & 1:02x}"


def end(span: "Span | None", error: BaseException | None = None) -> None:
    """End a span, failed if there is an error."""
    if span is None:
        return
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("error.type", getattr(error, "code", "") or type(error).__name__)
        # cut after: of a secret that was cut in two, nobody could tell that it is one
        span.set_status(Status(StatusCode.ERROR, redact_text(str(error)[: 4 * _SHOWN])[:_SHOWN]))
    span.end()
