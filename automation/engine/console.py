"""The lines of executions on standard output, as the engine writes them into `workflow_execution_logs`.

A batch run writes some thousands a second. The table has all of them; of each level, standard output gets so many a
second, and a line that says how many were left out: what nobody could read is not worth the CPU and the disk.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from time import monotonic

from automation.engine.plan import Item, PlannedStep
from automation.requests import trace_id
from automation.steps import LogLine

PER_SECOND = 100
"""Lines of a level that one process says, some 40 kB a second. A line that is said costs 55 µs of CPU, one that is left
out 0.6 µs: a batch run at full speed pays less than 1 % of a core."""

TOLD = {"is_told": True}
"""`extra` of what is logged for Prefect alone, since a step's lines have said it."""

log = logging.getLogger("automation.execution")

_LEVELS = logging.getLevelNamesMapping()


class Allowance:
    """How many lines of each level may still be said in this second, and how many were not."""

    def __init__(self, per_second: int = PER_SECOND) -> None:
        self._per_second = per_second
        self._said: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._ends = 0.0

    def take(self, level: str, now: float) -> bool:
        """Whether a line of this level may be said."""
        if now >= self._ends:
            self._said.clear()
            self._ends = now + 1.0
        self._said[level] += 1
        if self._said[level] <= self._per_second:
            return True
        self._left_out[level] += 1
        return False

    @property
    def is_exceeded(self) -> bool:
        """Whether lines were left out, and nobody was told."""
        return bool(self._left_out)

    def account(self) -> Counter[str]:
        """How many lines of which level were left out since this was asked last."""
        left_out, self._left_out = self._left_out, Counter()
        return left_out


_allowance = Allowance()


def say(item: Item, step: PlannedStep, lines: Iterable[LogLine]) -> None:
    """Say what an execution's log was given."""
    was_exceeded = _allowance.is_exceeded
    now = monotonic()
    for line in lines:
        if log.isEnabledFor(_LEVELS[line.level]) and _allowance.take(line.level, now):
            _say(item, step, line)
    if _allowance.is_exceeded and not was_exceeded:
        asyncio.get_running_loop().call_later(1.0, _account)


def _say(item: Item, step: PlannedStep, line: LogLine) -> None:
    origin = {"request_id": item.origin.request_id, "trace_id": trace_id(item.origin.traceparent)}
    metadata = {name: value for name, value in origin.items() if value} | line.details
    log.log(
        _LEVELS[line.level],
        "%s",
        line.message,
        extra={
            "execution_id": item.execution_id,
            "workflow_id": item.workflow_id,
            "project_id": item.project.id or None,
            "step": step.step_type,
            "duration_ms": line.duration_ms,
            "metadata": metadata,
        },
    )


def _account() -> None:
    left_out = _allowance.account()
    told = ", ".join(f"{count} {level}" for level, count in sorted(left_out.items()))
    log.log(
        max(_LEVELS[level] for level in left_out),
        "Lines of executions left out here, more than %d a second: %s. The executions' own logs have them.",
        PER_SECOND,
        told,
        extra={"metadata": {"left_out": dict(left_out)}},
    )
