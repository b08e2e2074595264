"""Form, Input, Select, Textarea, Checkbox, Radio."""

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.forms import FIELD_COMPONENTS, Field, field_of, form_fields
from automation.runtime.render.html import Content, h
from automation.runtime.render.view import View, part_id
from automation.runtime.values import text


def form(component: Component, view: View) -> Markup:
    """{title?, fields[] {name, type, label, required, …}, submitText?, successMessage?}

    A static site has nobody to send to: the script shows the success message, and without it
    `method="dialog"` keeps what was typed out of the address.
    """
    config = component.config
    title, title_id = text(config, "title"), part_id(component, "title")
    fields = form_fields(config)
    return h(
        "form",
        h("h3", title, id=title_id) if title else None,
        [control(one, part_id(component, str(position)), view) for position, one in enumerate(fields)],
        view.children(component),
        h("button", text(config, "submitText") or view.text("submit"), type="submit"),
        h("output", class_="done", data_message=text(config, "successMessage") or view.text("sent")),
        method="dialog",
        aria_labelledby=title_id if title else None,
    )


def field(component: Component, view: View) -> Markup:
    """{label, name?, required?, placeholder?, value?, help?}, and {options[]} for a choice"""
    default_type = FIELD_COMPONENTS[component.type]
    one = field_of(component.config, name=component.id, default_type=default_type)
    return control(one, part_id(component, "field"), view)


def control(one: Field, uid: str, view: View) -> Markup:
    """One field with its label. Choices of several are a fieldset, whose legend is the label."""
    if one.type == "radio" or (one.type == "checkbox" and one.options):
        return _choices(one, uid, view)
    help_id = f"{uid}.help" if one.help else None
    if one.type == "checkbox":
        box = h(
            "input", type="checkbox", id=uid, name=one.name, value=one.value or "true", required=one.required,
            checked=one.checked, aria_describedby=help_id,
        )  # fmt: skip
        return h("div", box, _label(one, uid, view), _help(one, help_id), class_="field check")
    entry = _entry(one, uid, help_id, view)
    return h("div", _label(one, uid, view), entry, _help(one, help_id), class_="field")


def _entry(one: Field, uid: str, help_id: str | None, view: View) -> Markup:
    if one.type == "textarea":
        return h(
            "textarea", f"\n{one.value}", id=uid, name=one.name, rows=4, required=one.required,
            placeholder=one.placeholder or None, aria_describedby=help_id,
        )  # fmt: skip
    if one.type == "select":
        chosen = None if one.multiple else h("option", one.placeholder or view.text("choose"), value="")
        options = [h("option", label, value=value, selected=value == one.value) for value, label in one.options]
        return h(
            "select", chosen, options, id=uid, name=one.name, required=one.required, multiple=one.multiple,
            aria_describedby=help_id,
        )  # fmt: skip
    return h(
        "input", type=one.type, id=uid, name=one.name, value=one.value or None, required=one.required,
        placeholder=one.placeholder or None, aria_describedby=help_id,
    )  # fmt: skip


def _choices(one: Field, uid: str, view: View) -> Markup:
    boxes = [
        h(
            "div",
            h(
                "input", type=one.type, id=f"{uid}.{position}", name=one.name, value=value,
                checked=value == one.value, required=one.required and one.type == "radio",
            ),
            h("label", label, for_=f"{uid}.{position}"),
            class_="check",
        )
        for position, (value, label) in enumerate(one.options)
    ]  # fmt: skip
    return h("fieldset", h("legend", _caption(one, view)), boxes, _help(one, f"{uid}.help"), class_="field")


def _label(one: Field, uid: str, view: View) -> Markup:
    return h("label", _caption(one, view), for_=uid)


def _caption(one: Field, view: View) -> Content:
    star = h("abbr", "*", title=view.text("required"), class_="required") if one.required else None
    return [one.label, " ", star] if star else one.label


def _help(one: Field, help_id: str | None) -> Markup | None:
    return h("small", one.help, id=help_id) if one.help else None
