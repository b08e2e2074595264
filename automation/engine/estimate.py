"""When an execution will be done: the longest way through the steps that are left, by what they took before. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from graphlib import CycleError, TopologicalSorter

from automation.models import Status

_OVER = (Status.COMPLETED, Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a step of an execution stands; `after` names the steps that must be over before it."""

    identifier: str
    after: frozenset[str]
    status: str
    started_at: datetime | None = None
    is_required: bool = True

    @property
    def is_over(self) -> bool:
        return self.status in _OVER or (self.status == Status.FAILED and not self.is_required)


def estimated_completion(
    steps: Sequence[Standing], medians: Mapping[str, float], now: datetime, begins: datetime
) -> datetime | None:
    """When the last of these steps will be over; None when one that is left is not in `medians`, or none can be.

    Args:
        medians: what each step takes, in seconds.
        begins: when what does not run yet may begin, at the earliest.
    """
    left: dict[str, float] = {}
    for step in steps:
        if step.is_over:
            left[step.identifier] = 0.0
        elif step.identifier not in medians:
            return None
        elif step.status == Status.RUNNING and step.started_at is not None:
            left[step.identifier] = max(0.0, medians[step.identifier] - (now - step.started_at).total_seconds())
        else:
            left[step.identifier] = medians[step.identifier]
    seconds = longest_path({step.identifier: step.after for step in steps}, left)
    return None if seconds is None else max(now, begins) + timedelta(seconds=seconds)


def longest_path(after: Mapping[str, frozenset[str]], seconds: Mapping[str, float]) -> float | None:
    """How long steps take that run side by side wherever they may; None if they wait for each other, or for one
    that is not there.

    Args:
        after: of each step those that it waits for.
        seconds: what each step takes.
    """
    done_at: dict[str, float] = {}
    try:
        for name in TopologicalSorter(after).static_order():
            if name not in seconds:
                return None
            done_at[name] = seconds[name] + max((done_at[other] for other in after[name]), default=0.0)
    except CycleError:
        return None
    return max(done_at.values(), default=0.0)
