"""Step types that fail as a script tells them to, and the only proof of what they did: files.

An effect is a file named by the step's idempotency key, made once however often it is tried; a rollback removes it.
What was really done and undone stands line by line in a journal, also of processes that died.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from prefect.context import FlowRunContext

from automation import control, errors
from automation.models import utc_now
from automation.steps import Result, StepConfig, StepContext, Waiting, step

Fault = Literal[
    "DATABASE_ERROR", "NETWORK_ERROR", "FILE_SYSTEM_ERROR", "UNKNOWN_ERROR", "VALIDATION_ERROR",
    "late", "hang", "cancel", "die", "wait",  # in the test's own process
    "block", "eat", "kill", "deaf",  # these need a process of their own
]  # fmt: skip
"""`late` has its effect and fails then; `hang` waits until it is stopped; `die` ends its flow run as a dead process
does; `block` holds its event loop; `eat` takes 300 MB first; `kill` is SIGKILL; `deaf` ignores that it is cancelled."""

FOLDER = "AUTOMATION_FAULTS_FOLDER"
EATEN = 300 * 1024 * 1024


class Death(BaseException):
    """The process that runs a flow ends, as far as the engine can tell."""


class FaultConfig(StepConfig):
    """Nothing: what a step does stands in the execution's data, under `faults.<identifier>`."""


dead: set[Any] = set()
"""Flow runs whose process has died: what is left of them in this process does nothing more."""


def folder() -> Path:
    return Path(os.environ[FOLDER])


def journal() -> list[tuple[str, str]]:
    """What was really done, in its order: (`tried`, `done`, `undone`, key)."""
    file = folder() / "journal"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(word, key) for word, _, key in (line.partition(" ") for line in lines)]


def effects() -> set[str]:
    """The keys of the effects that are there."""
    return {one.name for one in (folder() / "effects").iterdir()} if (folder() / "effects").exists() else set()


def note(word: str, key: str) -> None:
    with (folder() / "journal").open("a") as file:
        file.write(f"{word} {key}\n")


def _flow_run() -> Any:
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def _has_effect(key: str) -> None:
    (folder() / "effects").mkdir(exist_ok=True)
    try:
        (folder() / "effects" / key).open("x").close()
    except FileExistsError:
        return
    note("done", key)


def _next(step: StepContext, script: Sequence[Fault], phase: str) -> Fault | None:
    """Each try does the next thing of its script; how many there were survives a process's death in the journal."""
    key = f"{phase}:{step.idempotency_key}"
    tried = sum(1 for word, noted in journal() if (word, noted) == ("tried", key)) if script else 0
    if script:
        note("tried", key)
    return script[tried] if tried < len(script) else None


async def _act(step: StepContext, fault: Fault) -> Waiting | None:
    match fault:
        case "late":
            _has_effect(step.idempotency_key)
            raise errors.NetworkError("late: the answer did not come")
        case "hang":
            await asyncio.Event().wait()
        case "cancel":
            async with step.database.transaction() as session:
                await control.cancel(session, step.execution_id, step.settings)
            await asyncio.Event().wait()
        case "die":
            dead.add(_flow_run())
            raise Death
        case "wait":
            return Waiting("time", until=utc_now() + timedelta(seconds=0.05), message="a moment")
        case "block":
            time.sleep(600)  # noqa: ASYNC251 (that is the fault)
        case "eat":
            eaten = bytearray(os.urandom(4096)) * (EATEN // 4096)  # touched, so that it is really there
            raise MemoryError(f"{len(eaten)} bytes were not enough")
        case "kill":
            os.kill(os.getpid(), 9)
        case "deaf":
            note(f"deaf:{os.getpid()}", step.idempotency_key)
            await _deaf()
        case code:
            raise errors.codes()[code](f"{code}, as it was told")
    return None


async def _deaf() -> None:
    end = time.monotonic() + 600
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


async def _run(step: StepContext) -> Result | Waiting:
    if _flow_run() in dead:
        raise Death
    script = step.trigger_data.get("faults", {}).get(step.identifier, [])
    if (fault := _next(step, script, "do")) and (waiting := await _act(step, fault)):
        return waiting
    _has_effect(step.idempotency_key)
    return {"key": step.idempotency_key}


async def undo(step: StepContext, config: FaultConfig) -> Result:
    """Remove the effect, if it is there."""
    script = step.trigger_data.get("faults", {}).get(f"undo {step.identifier}", [])
    if fault := _next(step, script, "undo"):
        await _act(step, fault)
    key = step.results[step.identifier].get("key", "")  # none: it has but waited
    try:
        (folder() / "effects" / (key or "none")).unlink()
    except FileNotFoundError:
        return {}
    note("undone", key)
    return {"removed": key}


@step("FAULT", retries=0, rollback=undo)
async def fault_step(step: StepContext, config: FaultConfig) -> Result | Waiting:
    """Do what the execution's data says."""
    return await _run(step)


@step("PATIENT_FAULT", retries=0, rollback=undo, waits=True)
async def patient_step(step: StepContext, config: FaultConfig) -> Result | Waiting:
    """The same, and it may have to wait."""
    return await _run(step)


STEPS = (fault_step, patient_step)
