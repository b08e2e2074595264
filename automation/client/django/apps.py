"""The app: reads its settings and connects the signals."""

import logging
from collections.abc import Callable
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_delete, post_save
from django.utils.module_loading import import_string

from automation.client.django import data, outbox, signals

log = logging.getLogger("automation.client")


class AutomationClientConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """`automation.client.django` in INSTALLED_APPS."""

    name = "automation.client.django"
    label = "automation_client"
    verbose_name = "Automation"

    def ready(self) -> None:
        url = _setting("AUTOMATION_API_URL")
        if not url:
            log.warning("AUTOMATION_API_URL is empty: Automation is told nothing.")
            return
        try:
            outbox.configure(url, _setting("AUTOMATION_API_KEY"))
        except ValueError as error:
            raise ImproperlyConfigured(f"AUTOMATION_API_URL, AUTOMATION_API_KEY: {error}") from None
        project = _model("AUTOMATION_PROJECT_MODEL", "studio.Project")
        page = _model("AUTOMATION_PAGE_MODEL", "studio.Page")
        project_data = _function("AUTOMATION_PROJECT_DATA", data.project_data)
        page_data = _function("AUTOMATION_PAGE_DATA", data.page_data)
        connect(post_save, project, signals.saved("project", project_data))
        connect(post_save, page, signals.saved("page", page_data))
        connect(post_delete, page, signals.deleted("page", page_data))


def connect(signal: Any, model: Any, receiver: Callable[..., None]) -> None:
    """Connect a receiver for good: the signal holds it, and once only."""
    signal.connect(receiver, sender=model, weak=False, dispatch_uid="automation.client")


def _setting(name: str) -> str:
    try:
        return str(getattr(settings, name) or "")
    except AttributeError:
        raise ImproperlyConfigured(
            f"{name} is not set; automation.client.django needs AUTOMATION_API_URL and AUTOMATION_API_KEY."
        ) from None


def _model(name: str, default: str) -> Any:
    label = getattr(settings, name, default)
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(f"{name} = {label!r}: expected a model as app.Model ({error})") from None


def _function(name: str, default: Callable[[Any], Any]) -> Callable[[Any], Any]:
    path = getattr(settings, name, None)
    if path is None:
        return default
    try:
        found: Callable[[Any], Any] = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{name} = {path!r}: expected the dotted path of a function ({error})") from None
    return found
