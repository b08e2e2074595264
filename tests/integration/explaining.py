"""Whether what is recorded of an execution explains what its steps really did (tests/integration/faults.py)."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from automation.database import Database
from automation.models import (
    FINAL,
    DeadLetter,
    Execution,
    ExecutionAttempt,
    Status,
    StepAttempt,
    StepExecution,
    Wait,
)
from tests.integration import faults

LOST = {"WORKER_LOST", "HARD_TIMEOUT"}


async def explain(database: Database, id_: UUID, script: dict[str, list[faults.Fault]]) -> str:
    """Check an execution that ought to have ended; how it did."""
    async with database.transaction() as session:
        execution = await session.get_one(Execution, id_)
        steps = {
            one.identifier: one
            for one in await session.scalars(select(StepExecution).where(StepExecution.execution_id == id_))
        }
        tries = (await session.scalars(select(StepAttempt).where(StepAttempt.execution_id == id_))).all()
        attempts = (await session.scalars(select(ExecutionAttempt).where(ExecutionAttempt.execution_id == id_))).all()
        open_waits = (
            await session.scalars(select(Wait.id).where(Wait.execution_id == id_, Wait.status == "WAITING"))
        ).all()
        letter = await session.get(DeadLetter, id_)
    told = f"{execution.status} {execution.error_code} by {script}: { ({n: s.status for n, s in steps.items()}) }"

    assert execution.status in FINAL, told
    assert execution.ending == "", told
    assert not open_waits, told
    assert (letter is not None) == (execution.status == Status.FAILED), told
    _steps_are_over(execution, steps, told)
    codes = {one.error_code for one in (*attempts, *steps.values(), *tries)}
    was_lost = bool(codes & LOST) or execution.error_message == "cancelled with its flow run"
    _effects_are_as_recorded(execution, steps, script, told, was_lost=was_lost and execution.status != Status.COMPLETED)
    _attempts_are_complete(execution, steps, tries, attempts, told)
    return execution.status


def _steps_are_over(execution: Execution, steps: dict[str, StepExecution], told: str) -> None:
    over = {Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.CANCELLED, Status.ROLLED_BACK}
    assert {one.status for one in steps.values()} <= over, told
    required = {name: one.status for name, one in steps.items() if name != "extra"}
    if execution.status == Status.COMPLETED:
        assert set(required.values()) == {Status.COMPLETED}, told
        assert steps["extra"].status in (Status.COMPLETED, Status.FAILED), told
        assert execution.degraded == (steps["extra"].status == Status.FAILED), told
    if execution.status == Status.FAILED and execution.error_code not in LOST:
        assert execution.error_message, told
        assert steps[execution.failed_step].status == Status.FAILED, told
        assert steps[execution.failed_step].error_code == execution.error_code, told


def _effects_are_as_recorded(
    execution: Execution,
    steps: dict[str, StepExecution],
    script: dict[str, list[faults.Fault]],
    told: str,
    *,
    was_lost: bool,
) -> None:
    """Each was had once, and is there if its step is completed; a rollback that failed leaves it there, too.

    What a process was at when it died nobody knows, unless it is tried again: that is what WORKER_LOST says.
    """
    mine = str(execution.id)
    there = {key.partition(":")[2] for key in faults.effects() if key.startswith(mine)}
    done = Counter[str]()
    for word, key in faults.journal():
        if key.startswith(mine) and word in ("done", "undone"):
            done[key.partition(":")[2]] += 1 if word == "done" else -1
            assert done[key.partition(":")[2]] in (0, 1), f"{key} {word} twice: {told}"
    waited = {name for name, tries in script.items() if "wait" in tries}
    completed = {name for name, one in steps.items() if one.status == Status.COMPLETED}
    late = {name for name, tries in script.items() if "late" in tries}
    assert completed - waited <= there, f"missing effects, there are {there}: {told}"
    if not was_lost:
        assert there <= completed | late, f"effects nobody accounts for, {there - completed}: {told}"
    if execution.status in (Status.FAILED, Status.CANCELLED):
        kept = {name.removeprefix("undo ") for name in script if name.startswith("undo ")}
        assert completed <= kept, f"not rolled back: {told}"


def _attempts_are_complete(
    execution: Execution,
    steps: dict[str, StepExecution],
    tries: Sequence[StepAttempt],
    attempts: Sequence[ExecutionAttempt],
    told: str,
) -> None:
    """Every attempt but the last has a row that says how it ended, and so has every try of a step that failed in it."""
    numbers = {one.attempt for one in attempts}
    before = set(range(1, execution.attempt))
    assert before <= numbers <= before | {execution.attempt}, (
        f"attempts {sorted(numbers)} of {execution.attempt}: {told}"
    )
    kept = {(one.identifier, one.attempt) for one in tries} | {(name, one.attempt) for name, one in steps.items()}
    for one in attempts:
        if one.failed_step:
            assert (one.failed_step, one.attempt) in kept, f"the try of {one.failed_step} in {one.attempt}: {told}"
    by_policy = Counter((one.failed_step, one.error_code) for one in attempts if one.error_code != "WORKER_LOST")
    assert all(number <= 3 for number in by_policy.values()), f"{by_policy}: {told}"
