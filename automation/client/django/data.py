"""What Automation is told of a project and a page: the `data` of its events.

These fit models with the fields of the platform's own. Others give functions of their own, which take the
instance and return such a dictionary, by AUTOMATION_PROJECT_DATA and AUTOMATION_PAGE_DATA.
"""

from typing import Any

_PAGE_FIELDS = ("name", "route", "config", "version")


def project_data(project: Any) -> dict[str, Any]:
    """`{"project_id", "project": {"id", "name", "owner": {"id", "email"}}}`; without an owner, none."""
    known: dict[str, Any] = {"id": str(project.pk), "name": project.name}
    if owner := getattr(project, "owner", None):
        known["owner"] = {"id": str(owner.pk), "email": getattr(owner, "email", "")}
    return {"project_id": str(project.pk), "project": known}


def page_data(page: Any) -> dict[str, Any]:
    """`{"project_id", "page": {"id", "name", "route", "config", "version"}}`, of these what the model has."""
    known = {name: getattr(page, name) for name in _PAGE_FIELDS if hasattr(page, name)}
    return {"project_id": str(page.project_id), "page": {"id": str(page.pk), **known}}
