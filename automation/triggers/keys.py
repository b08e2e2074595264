"""The keys by which a trigger counts: what of an event tells one debounce, throttle or silence from another."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from automation import templates
from automation.conditions import MISSING, is_path, look_up
from automation.errors import RefusedError, ValidationError
from automation.models.trigger import KEY_LENGTH

_NAMED = {"project": "data.project_id", "page": "data.page.id", "user": "data.user_id"}


def check_key(spec: str, field: str) -> None:
    """Whether a key can be found in any event.

    Raises:
        RefusedError: it is neither a field path nor a template that can be read.
    """
    if templates.has_templates(spec):
        try:
            templates.check(spec, field)
        except RefusedError as error:
            raise RefusedError(f"{field}: {error}", field) from None
    elif not is_path(spec) or "{" in spec:
        text = f"{field}: {spec!r} is neither a field path such as data.order.id nor a {{{{ … }}}} template"
        raise RefusedError(text, field)


def key_of(spec: str, root: Mapping[str, Any]) -> str | None:
    """The value of a key for an event.

    Args:
        spec: a field path, `project`, `page` or `user`, or a `{{ … }}` template.
        root: the event, as conditions see it.

    Returns:
        The value as text, of at most KEY_LENGTH characters; None when the event lacks it.
    """
    if templates.has_templates(spec):
        try:
            value = templates.render(spec, root)
        except ValidationError:
            return None
    else:
        value = look_up(root, _NAMED.get(spec, spec))
    if value is MISSING or value is None:
        return None
    return fitted(value if isinstance(value, str) else orjson.dumps(value).decode())


def fitted(key: str) -> str:
    """`key`, or, of one that is too long, its beginning and a hash of the whole."""
    if len(key) <= KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: KEY_LENGTH - len(digest) - 1]}:{digest}"


def subject(root: Mapping[str, Any]) -> str:
    """What `changed` compares by when a trigger has no key: the page of a page's event, else the project."""
    return key_of("page", root) or key_of("project", root) or ""
