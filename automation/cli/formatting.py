"""What people and scripts see: tables that fit the terminal, times as "3 min ago", and JSON as the API answers it.

Nothing that stands in an object can command the terminal: control characters are spelled out.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

NOTHING = "–"
_STYLES = {
    "COMPLETED": "green", "DELIVERED": "green", "fired": "green", "yes": "green",
    "FAILED": "red", "CRITICAL": "red", "ERROR": "red", "no": "red",
    "RUNNING": "cyan", "RETRYING": "yellow", "WAITING": "yellow", "WARNING": "yellow",
    "CANCELLED": "dim", "SKIPPED": "dim", NOTHING: "dim",
}  # fmt: skip
_WIDE = 10_000
"""Columns of what is no terminal: nothing is cut there."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def clean(text: str) -> str:
    """`text` in one line, with what is not printable spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- values -------------------------------------------------------------------------------------------------


def plain(value: Any) -> str:
    """Any value of a JSON document in one line."""
    if value is None or value == "" or value == [] or value == {}:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return clean(", ".join(value))
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def ago(value: Any) -> str:
    """A time of the API, as seen from now: `3 min ago`, `in 2 h`."""
    return NOTHING if value is None else distance(datetime.fromisoformat(value), datetime.now(UTC))


def distance(at: datetime, now: datetime) -> str:
    """How far a time is from now, in its largest unit."""
    seconds = (at - now).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= length:
            text = f"{size // length:.0f} {unit}"
            break
    else:
        if size < 1:
            return "now"
        text = f"{size // 1:.0f} s"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def took(value: Any) -> str:
    """Milliseconds, as people say them."""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{value:.0f} ms"
    seconds = value / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def percent(value: Any) -> str:
    """0 to 1 as a percentage."""
    return NOTHING if value is None else f"{value * 100:.0f} %"


# --- tables -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: where in a row, as a dotted path.
        show: a value as text in one line.
        cut: it is cut where the terminal is too narrow; the others never are.
    """

    title: str
    key: str
    show: Callable[[Any], str] = plain
    cut: bool = False


def cells(row: Json, columns: Iterable[Column]) -> list[str]:
    """The texts of a row."""
    return [column.show(_found(row, column.key)) for column in columns]


def _found(row: Any, key: str) -> Any:
    for part in key.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row


def table(rows: Sequence[Json], columns: Sequence[Column], title: str = "") -> None:
    """Print rows; columns of which no row has anything are left out."""
    from rich.table import Table
    from rich.text import Text

    texts = [cells(row, columns) for row in rows]
    used = [i for i in range(len(columns)) if any(row[i] != NOTHING for row in texts)]
    made = Table(box=None, pad_edge=False, title=title or None, title_justify="left", title_style="bold")
    for i in used:
        made.add_column(columns[i].title.upper(), no_wrap=not columns[i].cut, header_style="dim")
    for row in texts:
        made.add_row(*(Text(row[i], style=_STYLES.get(row[i], ""), no_wrap=True, overflow="ellipsis") for i in used))
    console().print(made)


def console() -> "Console":
    """Standard output: as wide as the terminal is; without one, as wide as need be and without colours."""
    from rich.console import Console

    made = Console(markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def say(text: str, state: str = "") -> None:
    """Print a line of our own words and an object's cleaned ones, in the colour of a state or level if it has one."""
    if (style := _STYLES.get(state)) and sys.stdout.isatty():
        console().print(clean(text), style=style, soft_wrap=True)
    else:
        print(clean(text), flush=True)


def hint(text: str) -> None:
    """Print what is for people only, and no part of the answer."""
    print(clean(text), file=sys.stderr, flush=True)


def details(thing: Json, leave_out: Iterable[str] = ()) -> None:
    """Print an object: a line each for what is short, YAML for the rest; what is empty is left out."""
    import yaml

    out = set(leave_out)
    shown = {key: value for key, value in thing.items() if key not in out and value not in (None, "", [], {})}
    for key, value in shown.items():
        if isinstance(value, str) and _TIME.fullmatch(value):
            print(f"{clean(key):<22} {clean(value)}  ({ago(value)})")
        elif isinstance(value, dict | list) and not _is_short(value):
            print(f"{clean(key)}:")
            block = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)
            print("\n".join(f"    {clean(line)}" for line in block.splitlines()))
        else:
            print(f"{clean(key):<22} {plain(value)}")


def _is_short(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


# --- for scripts --------------------------------------------------------------------------------------------


def as_json(value: Any, *, indent: int | None = 2) -> None:
    """Print an answer of the API: the same value, and control characters only escaped."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8", indent=indent)
    print(re.sub("[\x7f-\x9f]", lambda match: f"\\u{ord(match.group()):04x}", text), flush=True)
