from datetime import UTC, datetime, timedelta
from typing import Any

from automation.api.execution_answers import ExecutionDetailOut, StepAttemptOut, StepExecutionOut, WaitOut
from automation.ops.gantt import WIDTH, make_chart

BEGIN = datetime(2026, 1, 15, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def step(name: str, status: str, **values: Any) -> StepExecutionOut:
    return StepExecutionOut(identifier=name, type="ECHO", order=1, status=status, **values)


def ran(name: str, begin: float, end: float) -> StepExecutionOut:
    return step(name, "COMPLETED", started_at=at(begin), completed_at=at(end), duration_ms=(end - begin) * 1000)


def execution(*steps: StepExecutionOut, waits: tuple[WaitOut, ...] = ()) -> ExecutionDetailOut:
    return ExecutionDetailOut.model_construct(steps=list(steps), waits=list(waits))


def test_steps_stand_where_they_ran() -> None:
    chart = make_chart(execution(ran("a", 0, 1), ran("b", 1, 4)), at(9))

    assert [(bar.x, bar.width) for row in chart.rows for bar in row.bars] == [(0, 250), (250, 750)]
    assert chart.ticks[-1] == (WIDTH, 4000)


def test_a_step_that_runs_reaches_to_now_and_shows_how_much_of_it_is_done() -> None:
    chart = make_chart(execution(ran("a", 0, 5), step("b", "RUNNING", started_at=at(5), progress=0.5)), at(10))

    (bar,) = chart.rows[1].bars
    assert (bar.x, bar.width, bar.done) == (500, 500, 250)


def test_earlier_tries_stand_before_the_last_one() -> None:
    before = StepAttemptOut(
        attempt=1, status="FAILED", started_at=at(0), completed_at=at(2), duration_ms=2000, error_message="x",
        error_code="NETWORK_ERROR",
    )  # fmt: skip
    again = ran("a", 6, 8).model_copy(update={"attempts": [before]})
    chart = make_chart(execution(again), at(9))

    assert [(bar.status, bar.is_past) for bar in chart.rows[0].bars] == [("FAILED", True), ("COMPLETED", False)]


def test_a_short_step_can_be_seen_and_stays_within_the_picture() -> None:
    chart = make_chart(execution(ran("a", 0, 1000), ran("b", 1000, 1000.001)), at(2000))

    (bar,) = chart.rows[1].bars
    assert bar.width == 4
    assert bar.x + bar.width <= WIDTH


def test_a_step_that_was_not_reached_has_no_bar() -> None:
    chart = make_chart(execution(ran("a", 0, 1), step("b", "PENDING")), at(1))

    assert chart.rows[1].bars == []


def test_an_execution_that_has_not_begun_has_no_axis() -> None:
    assert make_chart(execution(step("a", "PENDING")), at(0)).ticks == []
