"""What is said of an execution while it goes on."""

from typing import Any

from automation.cli.watching import news


def step(identifier: str, status: str, **more: Any) -> dict[str, Any]:
    empty = {"duration_ms": None, "progress": None, "progress_message": "", "error_message": ""}
    return {"identifier": identifier, "type": identifier.upper(), "status": status, **empty, **more}


def execution(status: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"workflow_name": "Publish", "project_id": "shop", "attempt": 1, "error_message": ""}
    return {"status": status, "steps": list(steps), **whole, **more}


def test_each_change_is_told_once_and_steps_to_come_are_not() -> None:
    course = [
        execution("PENDING", step("a", "PENDING"), step("b", "PENDING")),
        execution("RUNNING", step("a", "RUNNING"), step("b", "PENDING")),
        execution("RUNNING", step("a", "RUNNING", progress=0.5, progress_message="half"), step("b", "PENDING")),
        execution("RUNNING", step("a", "RUNNING", progress=0.5, progress_message="half"), step("b", "PENDING")),
        execution("RUNNING", step("a", "COMPLETED", duration_ms=1200.0), step("b", "RUNNING")),
        execution(
            "FAILED",
            step("a", "ROLLED_BACK", duration_ms=1200.0),
            step("b", "FAILED", duration_ms=3.0, error_message="no pages"),
            attempt=2,
            error_message="no pages",
        ),
    ]

    said = [line for before, after in zip([{}, *course], course, strict=False) for line in news(before, after)]

    assert said == [
        "PENDING    Publish of shop",
        "RUNNING    a (A)",
        "RUNNING    Publish of shop",
        "           a  50 %  half",
        "COMPLETED  a (A)  1.2 s",
        "RUNNING    b (B)",
        "ROLLED_BACK a (A)  1.2 s",
        "FAILED     b (B)  3 ms  no pages",
        "FAILED     Publish of shop, attempt 2: no pages",
    ]


def test_who_joins_late_hears_where_it_stands() -> None:
    assert list(news({}, execution("RUNNING", step("a", "COMPLETED", duration_ms=5.0), step("b", "RUNNING")))) == [
        "COMPLETED  a (A)  5 ms",
        "RUNNING    b (B)",
        "RUNNING    Publish of shop",
    ]
