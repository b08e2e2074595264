"""Calendar: one month as a table, with its events."""

import calendar as months
import re
from datetime import date
from typing import Any

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.basic import link
from automation.runtime.render.html import Content, h
from automation.runtime.render.view import View
from automation.runtime.values import Config, entries, text, whole

_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_MONTH = re.compile(r"(\d{4})-(\d{1,2})(?!\d)")


def calendar(component: Component, view: View) -> Markup:
    """{month? "2026-01" (or date), or {year, month}, events[]? {date, title, href?}, title?}

    Without a month, that of the first event; without events, that in which the site was built.
    """
    config = component.config
    events = _events(config)
    year, month = (
        _month(config)
        or next(((day.year, day.month) for day, _ in events), None)
        or (
            view.site.built_on.year,
            view.site.built_on.month,
        )
    )
    name = f"{view.text('months').split()[month - 1]} {year}"
    title = text(config, "title")
    days = view.text("days").split()
    weeks = [
        h("tr", [_cell(year, month, day, events, view) for day in week])
        for week in months.Calendar().monthdayscalendar(year, month)
    ]
    return h(
        "table",
        h("caption", f"{title} – {name}" if title else name),
        h("thead", h("tr", [h("th", day, scope="col") for day in days])),
        h("tbody", weeks),
    )


def _cell(year: int, month: int, day: int, events: list[tuple[date, dict[str, Any]]], view: View) -> Markup:
    if not day:
        return h("td")
    stamp = date(year, month, day)
    entries_: list[Content] = [h("li", link(event, view)) for when, event in events if when == stamp]
    return h("td", h("time", str(day), datetime=stamp.isoformat()), h("ul", entries_) if entries_ else None)


def _events(config: Config) -> list[tuple[date, dict[str, Any]]]:
    found = []
    for one in entries(config, "events", "items"):
        match = _DAY.match(text(one, "date", "start", "day"))
        if match and (day := _date(*map(int, match.groups()))):
            found.append((day, {**one, "label": text(one, "title", "label", "name", "text")}))
    return sorted(found, key=lambda event: event[0])


def _month(config: Config) -> tuple[int, int] | None:
    if match := _MONTH.match(text(config, "month", "date", "value", "defaultDate")):
        year, month = int(match.group(1)), int(match.group(2))
    else:
        year = whole(config, "year", low=0, high=9999, default=0)
        month = whole(config, "month", low=0, high=13, default=0)
    return (year, month) if _date(year, month, 1) else None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
