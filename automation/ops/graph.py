"""The steps of a workflow as a picture: a layer for each depth, a line from each to those that wait for it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 150, 34
_GAP_X, _GAP_Y = 20, 26
_MARGIN = 1
_SWEEPS = 4

Place = tuple[str, int]
"""A step in its layer; in a layer between two steps, the place at which the line between them passes."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a step stands, by its upper left corner."""

    identifier: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture in pixels; each line is the `d` of an SVG path."""

    width: float
    height: float
    boxes: list[Box]
    lines: list[str]


def draw(after: Mapping[str, frozenset[str]]) -> Drawing:
    """Draw steps from the top to the bottom.

    Args:
        after: of each step those that it waits for, each of them a key. Where they wait for each other in a circle,
            all are drawn in one row, without lines.
    """
    try:
        order = list(TopologicalSorter(after).static_order())
    except CycleError:
        order, after = list(after), dict.fromkeys(after, frozenset())
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[other] + 1 for other in after[name]), default=0)
    chains = [_chain(other, name, depth) for name in order for other in sorted(_direct(name, after))]
    layers = _layers(order, depth, chains)
    widest = max((len(layer) for layer in layers), default=0)
    width = widest * (BOX_WIDTH + _GAP_X) - _GAP_X + 2 * _MARGIN if widest else 0
    centre = {
        place: (
            width / 2 + (position - (len(layer) - 1) / 2) * (BOX_WIDTH + _GAP_X),
            _MARGIN + number * (BOX_HEIGHT + _GAP_Y) + BOX_HEIGHT / 2,
        )
        for number, layer in enumerate(layers)
        for position, place in enumerate(layer)
    }
    boxes = [
        Box(name, centre[name, depth[name]][0] - BOX_WIDTH / 2, centre[name, depth[name]][1] - BOX_HEIGHT / 2)
        for name in order
    ]
    height = len(layers) * (BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN if layers else 0
    return Drawing(width, height, boxes, [_line([centre[place] for place in chain]) for chain in chains])


def _direct(name: str, after: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Those that a step waits for, without those that another one of them waits for anyway."""
    seen: set[str] = set()
    beyond = [other for one in after[name] for other in after[one]]
    while beyond:
        one = beyond.pop()
        if one not in seen:
            seen.add(one)
            beyond.extend(after[one])
    return after[name] - seen


def _chain(first: str, last: str, depth: Mapping[str, int]) -> list[Place]:
    """The places of a line, from one step to a later one."""
    between = range(depth[first] + 1, depth[last])
    return [(first, depth[first]), *((f"{first}\0{last}", layer) for layer in between), (last, depth[last])]


def _layers(order: list[str], depth: Mapping[str, int], chains: list[list[Place]]) -> list[list[Place]]:
    """The places of each layer, so that few lines cross: each comes to stand below the middle of what it hangs on."""
    layers: list[list[Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for place in dict.fromkeys([*((name, depth[name]) for name in order), *(one for chain in chains for one in chain)]):
        layers[place[1]].append(place)
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        beside = above if down else below
        at: dict[Place, int] = {}  # in the layers that were passed, of which the last one counts
        for layer in layers if down else layers[::-1]:
            own = {place: index for index, place in enumerate(layer)}
            layer.sort(key=lambda place: _middle([at[one] for one in beside.get(place, ())], own[place]))
            at |= {place: index for index, place in enumerate(layer)}
    return layers


def _middle(positions: list[int], otherwise: int) -> float:
    return sum(positions) / len(positions) if positions else otherwise


def _line(points: list[tuple[float, float]]) -> str:
    """A curve through the middles of places: out of the lower edge of the first, into the upper edge of the last."""
    half = BOX_HEIGHT / 2
    x, y = points[0]
    parts = [f"M{x:g} {y + half:g}"]
    y += half
    for number, (next_x, next_y) in enumerate(points[1:], start=1):
        into = next_y - half
        bend = (y + into) / 2
        parts.append(f"C{x:g} {bend:g} {next_x:g} {bend:g} {next_x:g} {into:g}")
        x, y = next_x, into
        if number < len(points) - 1:  # straight past the steps of that layer
            y = next_y + half
            parts.append(f"V{y:g}")
    return "".join(parts)
