"""Chart: an SVG drawing for the eye, and the same figures as a table for everybody."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.data import data_table
from automation.runtime.render.html import Content, h
from automation.runtime.render.view import View
from automation.runtime.values import Config, as_number, entries, scalar, text

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 600, 300, 56, 28, 12
_MAX_POINTS = 200  # what a drawing of this size can still show; the table has the rest
_COLORS = 6  # classes s0 … s5 of the style sheet


@dataclass(frozen=True, slots=True)
class Data:
    """`labels` along the axis, and series of (name, one value per label)."""

    labels: list[str]
    series: list[tuple[str, list[float]]]


def chart(component: Component, view: View) -> Markup:
    """{chartType? "bar" | "line" | "pie", title?, data[] {label, value}, or {labels[], values[]}, or
    {labels[], datasets[] {label, data[]}}, also inside `data`}"""
    config = component.config
    data, title = read(config), text(config, "title", "caption", "label")
    heading = h("figcaption", title) if title else None
    if not data.labels:
        return h("figure", heading, h("p", view.text("no_data"), class_="missing"))
    kind = text(config, "chartType", "kind", "variant", "type")
    draw = {"line": _lines, "area": _lines, "pie": _pie, "doughnut": _pie, "donut": _pie}.get(kind, _bars)
    drawn = [(name, values[:_MAX_POINTS]) for name, values in data.series[:_COLORS]]
    names = [name or view.text("value") for name, _ in data.series]
    columns = [map(scalar, values) for _, values in data.series]
    rows = [list(row) for row in zip(data.labels, *columns, strict=True)]
    keys = data.labels[:_MAX_POINTS] if draw is _pie else names[:_COLORS]
    table = data_table("", [view.text("label"), *names], rows)
    return h(
        "figure",
        heading,
        h(
            "svg",
            h("title", title or view.text("chart")),
            draw(Data(data.labels[:_MAX_POINTS], drawn)),
            viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
            role="img",
            aria_label=title or view.text("chart"),
        ),
        h("ul", [h("li", key, class_=f"s{at % _COLORS}") for at, key in enumerate(keys)], class_="legend")
        if len(keys) > 1 else None,
        h("details", h("summary", view.text("show_data")), table),
    )  # fmt: skip


def read(config: Config) -> Data:
    """The figures of a chart, in whichever of the three shapes they come; what is no number counts as 0."""
    inner = config.get("data")
    source: Config = inner if isinstance(inner, dict) else config
    labels = [text(one, "label", "name", "x") for one in entries(source, "labels", "categories")]
    sets = entries(source, "datasets", "series")
    series = [(text(one, "label", "name"), _numbers(one.get("data") or one.get("values"))) for one in sets]
    if not series and isinstance(source.get("values"), list):
        series = [("", _numbers(source["values"]))]
    if not series:
        points = entries(source, "data", "points", "items")
        labels = [text(one, "label", "name", "x") for one in points]
        values = (one.get("value", one.get("y", one.get("label"))) for one in points)
        series = [("", [as_number(value) or 0.0 for value in values])]
    length = max((len(values) for _, values in series), default=0)
    labels = [*labels, *(str(at + 1) for at in range(len(labels), length))][: length or None]
    padded = [(name, [*values, *[0.0] * (len(labels) - len(values))]) for name, values in series]
    return Data(labels if length else [], padded)


def _numbers(values: Any) -> list[float]:
    return [as_number(one) or 0.0 for one in values] if isinstance(values, list) else []


def _scale(data: Data) -> tuple[float, float]:
    """(lowest, highest) of the axis; 0 is always on it, and it is never empty."""
    values = [value for _, series in data.series for value in series]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    return (low, high) if high / 2 > low / 2 else (low, low + 1)


def _y(value: float, low: float, high: float) -> float:
    # Divided before subtracting, since the distance of two huge values may be infinite.
    span = high / 2 - low / 2
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * ((high / 2 - value / 2) / span)


def _axes(data: Data, low: float, high: float, step: float) -> list[Markup]:
    marks: list[Content] = []
    for part in range(5):
        value = low + (high / 4 - low / 4) * part
        y = _y(value, low, high)
        marks += [
            h("line", class_="rule", x1=_LEFT, x2=_WIDTH, y1=_n(y), y2=_n(y)),
            h("text", f"{value:.4g}", x=_LEFT - 6, y=_n(y + 4), class_="end"),
        ]
    every = math.ceil(len(data.labels) / 10)
    names = [
        h("text", label[:14], x=_n(_LEFT + step * (at + 0.5)), y=_HEIGHT - 8, class_="middle")
        for at, label in enumerate(data.labels)
        if at % every == 0
    ]
    return [h("g", marks, class_="axis"), h("g", names, class_="axis")]


def _bars(data: Data) -> list[Markup]:
    low, high = _scale(data)
    step = (_WIDTH - _LEFT) / len(data.labels)
    width = step * 0.8 / len(data.series)
    zero = _y(0, low, high)
    bars = [
        h(
            "rect",
            h("title", f"{data.labels[at]}: {scalar(value)}"),
            class_=f"s{number}",
            x=_n(_LEFT + step * (at + 0.1) + width * number),
            y=_n(min(zero, _y(value, low, high))),
            width=_n(width),
            height=_n(abs(zero - _y(value, low, high))),
        )
        for number, (_, values) in enumerate(data.series)
        for at, value in enumerate(values)
    ]
    return [*_axes(data, low, high, step), *bars]


def _lines(data: Data) -> list[Markup]:
    low, high = _scale(data)
    step = (_WIDTH - _LEFT) / len(data.labels)
    lines = []
    for number, (_, values) in enumerate(data.series):
        points = [(_LEFT + step * (at + 0.5), _y(value, low, high)) for at, value in enumerate(values)]
        written = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        lines.append(h("polyline", class_=f"s{number}", points=written))
    return [*_axes(data, low, high, step), *lines]


def _pie(data: Data) -> list[Markup]:
    values = [max(value, 0.0) for value in data.series[0][1]]
    largest = max(values) or 1.0
    shares = [value / largest for value in values]  # made small first: the sum of huge values is infinite
    total, angle, slices = sum(shares) or 1.0, 0.0, []
    for at, share in enumerate(shares):
        turn = share / total
        about = h("title", f"{data.labels[at]}: {scalar(values[at])}")
        slices.append(h("path", about, d=_slice(angle, angle + turn), class_=f"s{at % _COLORS}"))
        angle += turn
    return slices


def _slice(start: float, end: float) -> str:
    """The path of a pie's slice; `start` and `end` are parts of a full turn."""
    x, y, radius = _WIDTH / 2, _HEIGHT / 2, _HEIGHT / 2 - _TOP
    end = min(end, start + 0.9999)  # an arc that ends where it begins is not drawn
    from_x, from_y = x + radius * math.sin(math.tau * start), y - radius * math.cos(math.tau * start)
    to_x, to_y = x + radius * math.sin(math.tau * end), y - radius * math.cos(math.tau * end)
    large = int(end - start > 0.5)
    arc = f"{_n(radius)} {_n(radius)} 0 {large} 1 {_n(to_x)} {_n(to_y)}"
    return f"M{_n(x)} {_n(y)}L{_n(from_x)} {_n(from_y)}A{arc}Z"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
