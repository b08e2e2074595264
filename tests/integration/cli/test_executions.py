"""What commands do with executions: watch them, try them again, cancel them, and read what they say."""

import asyncio
import json
import os
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from automation.models import (
    DeadLetter,
    Execution,
    ExecutionLog,
    FlowRun,
    Status,
    StepExecution,
    Wait,
    utc_now,
)
from automation.monitoring.fold import fold_all
from automation.monitoring.resources import Sampler
from tests.integration.api.serving import KEY, Api
from tests.integration.cli.commands import Run, failed_in_one_line, letter
from tests.integration.monitoring.ending import ended
from tests.integration.rows import write


def step_execution(execution_id: UUID, status: str, **values: Any) -> StepExecution:
    return StepExecution(
        execution_id=execution_id,
        identifier="a",
        step_type="TRANSFORM",
        order=1,
        status=status,
        started_at=utc_now(),
        **values,
    )


async def test_all_that_failed_in_a_project_are_tried_again(api: Api, run: Run) -> None:
    mine, other = await api.workflow("p1"), await api.workflow("p2")
    old = await api.execution(mine, Status.FAILED, completed_at=utc_now() - timedelta(hours=3))
    new = await api.execution(mine, Status.FAILED, completed_at=utc_now())
    elsewhere = await api.execution(other, Status.FAILED, completed_at=utc_now())

    since = await run("executions", "retry", "--status", "FAILED", "--project", "p1", "--since", "1h", "--json")
    rest = await run("executions", "retry", "--status", "FAILED", "--project", "p1", "--reason", "mended")

    assert json.loads(since.stdout) == {"count": 1, "executions": [str(new)], "left": 0}
    assert rest.stdout == "1 executions are tried again.\n"
    assert [(await api.stored(one)).status for one in (old, new, elsewhere)] == ["RETRYING", "RETRYING", "FAILED"]


async def test_one_is_tried_again_and_cancelled_and_its_state_is_respected(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow(), Status.FAILED)

    retried = await run("executions", "retry", id_)
    again = await run("executions", "retry", id_)
    cancelled = await run("executions", "cancel", id_, "--json")

    assert retried.stdout == f"Execution {id_} is RETRYING.\n"
    assert "RETRYING" in failed_in_one_line(again, 4)
    assert json.loads(cancelled.stdout)["status"] == "CANCELLED"


async def test_an_approval_is_answered(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow(), Status.WAITING)
    await write(api.database, Wait(execution_id=id_, identifier="ask", kind="approval"))

    answered = await run("executions", "approve", id_, "--comment", "fine", "--by", "Ada", "--json")

    assert answered.returncode == 0, answered.stderr
    wait = json.loads(answered.stdout)["wait"]
    assert (wait["status"], wait["comment"]) == ("RESOLVED", "fine")
    assert "Ada" in wait["resolved_by"]


async def test_watching_tells_the_course_live_and_ends_as_the_execution_does(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    await write(api.database, step_execution(id_, Status.RUNNING))
    command = [sys.executable, "-m", "automation.cli", "executions", "watch", str(id_)]
    env = os.environ | {"AUTOMATION_API_URL": api.url, "AUTOMATION_API_KEY": KEY}
    watching = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None

    first = [(await watching.stdout.readline()).decode()[10:] for _ in "12"]
    async with api.database.transaction() as session:
        execution = await session.get_one(Execution, id_)
        execution.status, execution.error_message, execution.completed_at = Status.FAILED, "no pages", utc_now()
    last = [line.decode()[10:] async for line in watching.stdout]

    assert first == ["RUNNING    a (TRANSFORM)\n", "RUNNING    Workflow of p1 of p1\n"]
    assert last == ["FAILED     Workflow of p1 of p1: no pages\n"]
    assert await watching.wait() == 1


@pytest.mark.parametrize(("status", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1)])
async def test_watching_one_that_has_ended_says_how(api: Api, run: Run, status: str, code: int) -> None:
    id_ = await api.execution(await api.workflow(), status)

    watched = await run("executions", "watch", id_, "--json")

    events = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [one["event"] for one in events] == ["snapshot", "end"]
    assert events[0]["data"] == (await api.get(f"executions/{id_}/")).json()
    assert watched.returncode == code


async def test_logs_are_all_there_oldest_first(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow())
    begin = utc_now()
    lines = [
        ExecutionLog(execution_id=id_, level="INFO", message=f"line {n}", timestamp=begin + timedelta(seconds=n))
        for n in range(230)
    ]
    await write(api.database, *lines)

    shown = await run("executions", "logs", id_)
    first = json.loads((await run("executions", "logs", id_, "--limit", 3, "--json")).stdout)

    assert [line.split("line ")[1] for line in shown.stdout.splitlines()] == [str(n) for n in range(230)]
    assert first == (await api.get(f"executions/{id_}/logs/", page_size=3)).json()


async def test_logs_of_all_executions_are_shown_and_followed(api: Api, run: Run) -> None:
    mine, theirs = [await api.execution(await api.workflow(project), "COMPLETED") for project in ("p1", "p2")]
    begin = utc_now()
    lines = [
        (mine, "p1", "INFO", "saved"), (mine, "p1", "ERROR", "disk \x1b[2J full"), (theirs, "p2", "CRITICAL", "theirs"),
    ]  # fmt: skip
    for n, (id_, project, level, message) in enumerate(lines):
        at = begin + timedelta(seconds=n)
        await write(
            api.database,
            ExecutionLog(execution_id=id_, project_id=project, level=level, message=message, timestamp=at),
        )

    shown = await run("logs")
    narrowed = await run("logs", "--project", "p1", "--level", "WARNING", "--text", "FULL", "--json")
    followed = await run("logs", "--follow", "--execution", mine, "--level", "ERROR")

    assert [line.split()[2] for line in shown.stdout.splitlines()] == ["INFO", "ERROR", "CRITICAL"]
    assert f"disk \\x1b[2J full  [p1  {mine}]" in shown.stdout
    [line] = [json.loads(one) for one in narrowed.stdout.splitlines()]
    assert (line["level"], line["execution_id"]) == ("ERROR", str(mine))
    assert (followed.returncode, len(followed.stdout.splitlines())) == (0, 1)
    assert "disk" in followed.stdout


async def test_active_says_what_runs_where(api: Api, run: Run) -> None:
    workflow = await api.workflow()
    flow_run = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="custom", state="RUNNING", process="worker-1:4711")
    await write(api.database, flow_run)
    id_ = await api.execution(workflow, Status.RUNNING, flow_run_id=flow_run.id, started_at=utc_now())
    await write(api.database, step_execution(id_, Status.RUNNING, progress=0.25))
    await api.execution(workflow)

    shown = await run("active")
    listed = json.loads((await run("active", "--json")).stdout)

    [_, row] = shown.stdout.splitlines()
    for part in (str(id_), "25 %", "worker-1:4711", str(flow_run.prefect_id), "p1"):
        assert part in row
    assert [one["id"] for one in listed["results"]] == [str(id_)]
    assert listed["results"][0]["steps"][0]["progress"] == 0.25


async def test_a_purge_cancels_what_waits_and_nothing_else(api: Api, run: Run) -> None:
    mine, other = await api.workflow("p1"), await api.workflow("p2")
    pending = [await api.execution(mine) for _ in range(3)]
    retrying = await api.execution(mine, Status.RETRYING)
    kept = {
        await api.execution(mine, Status.RUNNING): "RUNNING",
        await api.execution(mine, Status.WAITING): "WAITING",
        await api.execution(mine, Status.COMPLETED): "COMPLETED",
        await api.execution(other): "PENDING",
    }

    unasked = await run("queue", "purge", "--project", "p1")
    purged = await run("queue", "purge", "--project", "p1", "--yes", "--json")
    again = await run("queue", "purge", "--project", "p1", "--yes")

    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    answer = json.loads(purged.stdout)
    assert (answer["count"], set(answer["executions"]), answer["left"]) == (
        4, {str(one) for one in (*pending, retrying)}, 0,
    )  # fmt: skip
    assert {(await api.stored(one)).status for one in (*pending, retrying)} == {"CANCELLED"}
    assert {one: (await api.stored(one)).status for one in kept} == kept
    assert again.stderr == "Nothing waits.\n"
    audit = (await api.get("audit/", action="cancel")).json()["results"]
    assert {one["object_id"] for one in audit} == set(answer["executions"])


async def test_a_filter_that_is_empty_is_refused_and_does_not_mean_all(api: Api, run: Run) -> None:
    workflow = await api.workflow("p1")
    pending = await api.execution(workflow)
    failed = await api.execution(workflow, Status.FAILED)
    await write(api.database, DeadLetter(execution_id=failed, **letter(workflow)))

    for words in (
        ["queue", "purge", "--yes", "--project", ""],
        ["queue", "purge", "--yes", "--kind", ""],
        ["executions", "retry", "--status", "FAILED", "--project", ""],
        ["dead-letters", "redrive", "--all", "--project", ""],
        ["silences", "create", "--for", "1h", "--rule", ""],
        ["executions", "list", "--project", ""],
    ):
        failed_in_one_line(await run(*words), 4)
    assert (await run("executions", "retry", "--status", "FAILED", "--since", "")).returncode == 2

    assert [(await api.stored(one)).status for one in (pending, failed)] == ["PENDING", "FAILED"]
    assert (await api.get("silences/")).json()["results"] == []


async def test_insights_are_tables_for_people_and_json_for_scripts(api: Api, run: Run) -> None:
    workflow_id = await api.workflow("p1", kind="auto-save")
    for _ in range(3):
        await ended(api.database, workflow_id, seconds=2, steps={"SAVE_TO_RUNTIME": (Status.COMPLETED, 40.0)})
    message = "no \x1b[31m answer"
    await ended(api.database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", error_message=message)
    await fold_all(api.database)
    await Sampler(api.database, "service", api.services.settings.home).look()

    shown = (await run("insights", "workflows", "--window", "1h")).stdout.splitlines()
    assert shown[1].split()[:6] == ["auto-save", "4", "3", "1", "0", "75"]
    assert "SAVE_TO_RUNTIME" in (await run("insights", "steps", "--project", "p1")).stdout
    errors = (await run("insights", "errors")).stdout
    assert "NETWORK_ERROR" in errors
    assert "\x1b" not in errors
    assert " MB" in (await run("insights", "resources")).stdout
    [save] = json.loads((await run("insights", "workflows", "--json")).stdout)["results"]
    assert (save["completed"], save["failed"]) == (3, 1)
    assert (await run("insights", "workflows", "--kind", "publish")).stderr.strip() == "Nothing was measured then."
    assert "longer than 90 days" in failed_in_one_line(await run("insights", "errors", "--window", "91d"), 4)


async def test_a_redrive_takes_one_or_all(api: Api, run: Run) -> None:
    workflow = await api.workflow("p1")
    failed = [await api.execution(workflow, Status.FAILED) for _ in range(3)]
    await write(api.database, *(DeadLetter(execution_id=id_, **letter(workflow)) for id_ in failed))

    one = await run("dead-letters", "redrive", failed[0])
    nothing_said = await run("dead-letters", "redrive")
    rest = await run("dead-letters", "redrive", "--all")

    assert one.stdout == f"Execution {failed[0]} is RETRYING.\n"
    assert nothing_said.returncode == 2
    assert rest.stdout == "2 executions are tried again.\n"
