"""Figures over time as lines and bars in units of a picture 1000 wide and 100 high. Pure.

The pictures are stretched to the page, so they have no text; what an axis says stands beside them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10
from statistics import fmean

WIDTH, HEIGHT = 1000.0, 100.0


@dataclass(frozen=True, slots=True)
class Column:
    """A part of a bar, by its upper left corner; `name` says which part."""

    name: str
    x: float
    y: float
    width: float
    height: float


def means(
    points: Iterable[tuple[datetime, float | None]], since: datetime, bucket: timedelta, number: int
) -> list[float | None]:
    """What was measured now and then, as the mean of each of so many buckets; None where nothing was measured."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for at, value in points:
        if value is not None:
            found[(at - since) // bucket].append(value)
    return [fmean(found[n]) if n in found else None for n in range(number)]


def line(values: Sequence[float | None], top: float) -> str:
    """The `d` of a path through the middles of the buckets, with a gap where there is no value; a value that stands
    alone is a short stroke.

    Args:
        top: the value at the upper edge, over 0.
    """
    step = WIDTH / max(len(values), 1)
    parts: list[str] = []
    for number, value in enumerate(values):
        if value is None:
            continue
        x, y = step * (number + 0.5), HEIGHT * (1 - min(value / top, 1.0))
        follows = number > 0 and values[number - 1] is not None
        leads = number + 1 < len(values) and values[number + 1] is not None
        if follows or leads:
            parts.append(f"{'L' if follows else 'M'}{x:.1f} {y:.1f}")
        else:
            parts.append(f"M{x - step * 0.3:.1f} {y:.1f}H{x + step * 0.3:.1f}")
    return "".join(parts)


def columns(stacks: Sequence[Sequence[tuple[str, float]]], top: float) -> list[Column]:
    """A bar for each bucket, its parts one upon the other, the first one below."""
    step = WIDTH / max(len(stacks), 1)
    found: list[Column] = []
    for number, stack in enumerate(stacks):
        y = HEIGHT
        for name, value in stack:
            height = HEIGHT * value / top
            y -= height
            if value:
                found.append(
                    Column(name, round(step * (number + 0.1), 2), round(y, 2), round(step * 0.8, 2), round(height, 2))
                )
    return found


def nice_top(values: Sequence[float | None]) -> float:
    """The upper end of an axis that has room for these values: 1, 2 or 5 times a power of ten."""
    most = max((value for value in values if value is not None), default=0.0)
    if most <= 0:
        return 1.0
    power: float = 10 ** floor(log10(most))
    return next(power * factor for factor in (1, 2, 5, 10) if most <= power * factor * (1 + 1e-9))
