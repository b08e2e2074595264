"""An execution as a timeline: when each of its steps ran, try by try. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from automation.api.execution_answers import ExecutionDetailOut, StepExecutionOut, WaitOut
from automation.models import Status

WIDTH = 1000.0
"""Units of the whole time, from the left to the right."""
_THINNEST = 4.0
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """A try of a step; `done` is the width of the part that is done, of one that says so."""

    x: float
    width: float
    status: str
    is_past: bool
    done: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A step with its tries, oldest first."""

    step: StepExecutionOut
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Chart:
    """The rows in the order of the steps; `ticks` are (x, milliseconds since the first step began)."""

    rows: list[Row]
    ticks: list[tuple[float, float]]


def make_chart(detail: ExecutionDetailOut, now: datetime) -> Chart:
    """The timeline of an execution as it stands now."""
    waits = {one.identifier: one for one in detail.waits}
    spans = {step.identifier: list(_spans(step, waits.get(step.identifier), now)) for step in detail.steps}
    every = [span for of_step in spans.values() for span in of_step]
    if not every:
        return Chart([Row(step, []) for step in detail.steps], [])
    begin = min(one.begin for one in every)
    length = max(max(one.end for one in every) - begin, timedelta(milliseconds=1))
    rows = [
        Row(step, [_bar(one, begin, length, step.progress) for one in spans[step.identifier]]) for step in detail.steps
    ]
    total = length / timedelta(milliseconds=1)
    return Chart(rows, [(WIDTH * n / _TICKS, total * n / _TICKS) for n in range(_TICKS + 1)])


@dataclass(frozen=True, slots=True)
class _Span:
    begin: datetime
    end: datetime
    status: str
    is_past: bool


def _spans(step: StepExecutionOut, wait: WaitOut | None, now: datetime) -> Iterator[_Span]:
    for before in step.attempts:
        if before.started_at is not None:
            yield _Span(before.started_at, before.completed_at or before.started_at, before.status, is_past=True)
    if step.started_at is not None:
        is_open = step.status in (Status.RUNNING, Status.WAITING)
        end = now if is_open else step.completed_at or _end_of(step, wait)
        yield _Span(step.started_at, max(end, step.started_at), step.status, is_past=False)


def _end_of(step: StepExecutionOut, wait: WaitOut | None) -> datetime:
    assert step.started_at is not None
    if wait and wait.resolved_at:
        return wait.resolved_at
    return step.started_at + timedelta(milliseconds=step.duration_ms or 0)


def _bar(span: _Span, begin: datetime, length: timedelta, progress: float | None) -> Bar:
    x = WIDTH * ((span.begin - begin) / length)
    width = max(_THINNEST, WIDTH * ((span.end - span.begin) / length))
    x = max(0.0, min(x, WIDTH - width))
    done = width * progress if progress is not None and span.status == Status.RUNNING and not span.is_past else 0.0
    return Bar(round(x, 2), round(width, 2), span.status, span.is_past, round(done, 2))
