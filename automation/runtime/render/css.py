"""CSS values from documents: read, checked and written anew; what is not understood is left out."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from PIL import ImageColor

from automation.runtime.values import Config, as_number, scalar

_RGBA = re.compile(r"rgba\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(0|1|0?\.\d{1,4}|1\.0+)\s*\)")
_LENGTH = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?|\.[0-9]{1,3})(px|rem|em|ch|pt|vw|vh|%)?")
_FONT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,48}")
_GENERIC_FONTS = frozenset({"serif", "sans-serif", "monospace", "cursive", "fantasy", "system-ui", "ui-serif",
                            "ui-sans-serif", "ui-monospace", "ui-rounded"})  # fmt: skip
_SPACINGS = {
    "none": "0", "xs": ".25rem", "compact": ".5rem", "small": ".5rem", "sm": ".5rem", "normal": "1rem",
    "medium": "1rem", "md": "1rem", "large": "1.5rem", "lg": "1.5rem", "xl": "2rem", "relaxed": "1.5rem",
}  # fmt: skip


def color(value: object) -> str | None:
    """A colour as `#rrggbb` or `#rrggbbaa`; hex, names, rgb(), rgba() and hsl() are understood."""
    parts = _channels(value)
    return "#" + "".join(f"{part:02x}" for part in parts) if parts else None


def readable_on(value: object) -> str | None:
    """Black or white, whichever is easier to read on that colour."""
    if not (parts := _channels(value)):
        return None
    red, green, blue = (_linear(part / 255) for part in parts[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000" if luminance > 0.179 else "#fff"  # equal contrast (WCAG) to both at 0.179


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _channels(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    text = value.strip().lower()
    if text == "transparent":
        return 0, 0, 0, 0
    try:
        if match := _RGBA.fullmatch(text):
            *channels, alpha = match.groups()
            found = (*map(int, channels), round(float(alpha) * 255))
        else:
            found = ImageColor.getrgb(text)
    except ValueError:
        return None
    return tuple(min(max(int(part), 0), 255) for part in found)


def length(value: object) -> str | None:
    """One length; a plain number counts pixels. Never negative, at most four digits."""
    match = _LENGTH.fullmatch(scalar(value).strip().lower())
    if match is None:
        return None
    number, unit = match.groups()
    return f"{number}{unit or 'px'}"


def lengths(value: object) -> str | None:
    """One to four lengths, as `padding` takes them."""
    found = [length(part) for part in scalar(value).split()]
    return " ".join(part for part in found if part) if 1 <= len(found) <= 4 and all(found) else None


def spacing(value: object) -> str | None:
    """A length, or one of Studio's names for one (`small`, `normal`, `large`, …)."""
    return _SPACINGS.get(scalar(value).strip().lower()) or length(value)


def font_family(value: object) -> str | None:
    """Up to eight font names."""
    names = [name.strip().strip("\"'").strip() for name in scalar(value).split(",")]
    if len(names) > 8 or not all(_FONT.fullmatch(name) for name in names):
        return None
    return ", ".join(name if name in _GENERIC_FONTS else f"'{name}'" for name in names)


def _one_of(*words: str) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in words else None


def _weight(value: object) -> str | None:
    word = scalar(value)
    return word if word in ("normal", "bold") or re.fullmatch("[1-9]00", word) else None


def _between(low: float, high: float) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        found = as_number(value)
        return f"{found:g}" if found is not None and low <= found <= high else None

    return check


# What a component's `styles` may set: Studio's name, the property, and how its value is read.
_PROPERTIES: tuple[tuple[str, str, Callable[[object], str | None]], ...] = (
    ("background", "background-color", color),
    ("backgroundColor", "background-color", color),
    ("color", "color", color),
    ("borderColor", "border-color", color),
    ("borderWidth", "border-width", lengths),
    ("borderStyle", "border-style", _one_of("none", "solid", "dashed", "dotted", "double")),
    ("borderRadius", "border-radius", lengths),
    ("padding", "padding", lengths),
    ("margin", "margin", lengths),
    ("gap", "gap", lengths),
    ("maxWidth", "max-width", length),
    ("minHeight", "min-height", length),
    ("fontSize", "font-size", length),
    ("fontFamily", "font-family", font_family),
    ("fontWeight", "font-weight", _weight),
    ("fontStyle", "font-style", _one_of("normal", "italic")),
    ("lineHeight", "line-height", _between(0.8, 4)),
    ("opacity", "opacity", _between(0, 1)),
    ("textAlign", "text-align", _one_of("left", "right", "center", "justify", "start", "end")),
    ("textTransform", "text-transform", _one_of("none", "uppercase", "lowercase", "capitalize")),
)


def component_styles(styles: Config) -> dict[str, str]:
    """A component's `styles` as CSS declarations; a background without a text colour gets a readable one."""
    found = {prop: value for name, prop, read in _PROPERTIES if (value := read(styles.get(name)))}
    if (background := found.get("background-color")) and len(background) == 7:
        found.setdefault("color", readable_on(background) or "")
    return found


def declarations(found: Mapping[str, Any]) -> str:
    """`{"color": "#000"}` → `color:#000`; empty values are left out."""
    return ";".join(f"{name}:{value}" for name, value in found.items() if value not in (None, ""))
