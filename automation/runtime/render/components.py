"""One renderer per component type, and the place on the grid around each."""

from collections.abc import Callable, Iterable

from markupsafe import Markup

from automation.runtime.documents import COLUMNS, MAX_ROWS, Component
from automation.runtime.render import basic, chart, css, data, forms, layout, media, navigation
from automation.runtime.render import calendar as month
from automation.runtime.render.html import element_id, fragment, h
from automation.runtime.render.view import View

Renderer = Callable[[Component, View], Markup]

RENDERERS: dict[str, Renderer] = {
    "Header": basic.header,
    "Footer": basic.footer,
    "Card": basic.card,
    "Image": basic.image,
    "Text": basic.plain_text,
    "Form": forms.form,
    "Input": forms.field,
    "Select": forms.field,
    "Textarea": forms.field,
    "Checkbox": forms.field,
    "Radio": forms.field,
    "Grid": layout.grid,
    "Container": layout.container,
    "Divider": layout.divider,
    "Spacer": layout.spacer,
    "Menu": navigation.menu,
    "Breadcrumb": navigation.breadcrumb,
    "Tabs": navigation.tabs,
    "Pagination": navigation.pagination,
    "Gallery": media.gallery,
    "Video": media.video,
    "Audio": media.audio,
    "Table": data.table,
    "Chart": chart.chart,
    "List": data.listing,
    "Calendar": month.calendar,
}


def draw(components: Iterable[Component], view: View) -> Markup:
    """Components in reading order, row by row: on a small screen they follow each other in that order."""
    ordered = sorted(components, key=lambda one: (one.position.y, one.position.x))
    return fragment([_placed(one, view) for one in ordered])


def _placed(component: Component, view: View) -> Markup:
    renderer = RENDERERS.get(component.type)
    # Of a type of tomorrow's Studio, what is inside it still shows.
    inside = renderer(component, view) if renderer else view.children(component)
    name = component.type if renderer else "unknown"
    return h("div", inside, class_=f"c c-{name}", id=f"c-{element_id(component.id)}", style=_style(component))


def _style(component: Component) -> str:
    position = component.position
    x = min(max(position.x, 0), COLUMNS - 1)
    place = {
        "--x": x + 1,
        "--y": min(max(position.y, 0), MAX_ROWS) + 1,
        "--w": min(max(position.width, 1), COLUMNS - x),
        "--h": min(max(position.height, 1), MAX_ROWS),
    }
    return css.declarations(place | css.component_styles(component.styles))
