"""What a renderer may know beside its component: the site, the page, and how to draw what is inside."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.html import element_id, paragraphs, rich_text
from automation.runtime.render.texts import TEXTS
from automation.runtime.render.urls import relative_link, safe_url, split_route
from automation.runtime.values import Config, text


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages of one site share.

    Attributes:
        language: `fr` or `en`; anything else counts as `fr`.
        routes: (route, title) of every page, as `structure.unique_routes` gives them.
        built_on: the month that a calendar without one of its own shows.
    """

    project_name: str
    language: str = "fr"
    routes: tuple[tuple[str, str], ...] = ()
    built_on: date = field(default_factory=lambda: datetime.now(UTC).date())

    def text(self, name: str) -> str:
        """A fixed text in the site's language."""
        return TEXTS.get(self.language, TEXTS["fr"])[name]


@dataclass(frozen=True, slots=True)
class View:
    """One page being drawn.

    Attributes:
        known: the routes of all pages.
        heading: id of the component whose title is the page's only h1.
        draw: renders components in place, on the grid.
    """

    site: Site
    route: str
    known: frozenset[str]
    heading: str
    draw: Callable[[Iterable[Component], "View"], Markup]

    def text(self, name: str) -> str:
        """A fixed text in the site's language."""
        return self.site.text(name)

    def href(self, value: object) -> str | None:
        """A link's address: safe, and relative if it leads to a page of this site; None if it may not be."""
        url = safe_url(value)
        if url is None:
            return None
        route, rest = split_route(url)
        return relative_link(self.route, route) + rest if route in self.known else url

    def link_of(self, config: Config) -> str | None:
        """The first usable address among the names that Studio's links have."""
        names = ("href", "url", "link", "route", "to", "path")
        return next((found for name in names if (found := self.href(config.get(name)))), None)

    def image_of(self, config: Config, *names: str) -> str | None:
        """The first usable address of an image."""
        return next((url for name in names if (url := safe_url(config.get(name), image=True))), None)

    def prose(self, config: Config, *names: str) -> Markup:
        """A text of several lines: `html` as formatted text, otherwise the plain one among `names`."""
        rich = config.get("html")
        if isinstance(rich, str):
            return rich_text(rich, self.href)
        plain = text(config, *names)
        return rich_text(plain, self.href) if config.get("format") == "html" else paragraphs(plain)

    def children(self, component: Component) -> Markup:
        """Everything inside a component."""
        return self.draw(component.children, self)


def part_id(component: Component, part: str) -> str:
    """The id of an element inside a component, unique in the page."""
    return f"c-{element_id(component.id)}..{part}"
