"""What the steps on a project's site share."""

from automation.errors import RefusedError, ValidationError
from automation.runtime import builds
from automation.runtime.documents import Page
from automation.runtime.names import plain_name
from automation.runtime.render.page import Site
from automation.runtime.structure import site_routes
from automation.steps import StepContext


def safe_name(value: object, field: str) -> str:
    """`plain_name` for a step, where a wrong name is input that stays wrong.

    Raises:
        ValidationError: the value cannot be the name of a file.
    """
    try:
        return plain_name(value, field)
    except RefusedError as error:
        raise ValidationError(str(error)) from None


def project_of(step: StepContext) -> str:
    """The id of the step's project, fit for a folder.

    Raises:
        ValidationError: the execution belongs to no project, or its id cannot be the name of a folder.
    """
    return safe_name(step.project.id, "project_id")


def build_of(step: StepContext) -> builds.Build:
    """The site that this execution is building.

    Raises:
        ValidationError: no step before this one compiled any pages.
    """
    folder = builds.build_folder(step.settings.runtime_root, project_of(step), str(step.execution_id))
    build = builds.open_build(folder)
    if build is None or not build.site.is_dir():
        raise ValidationError(f"{step.identifier}: there is no build; put it after a COMPILE_PAGES step.")
    return build


def site_of(step: StepContext, pages: list[Page]) -> Site:
    """What all pages of the site have in common."""
    return Site(step.project.name or step.project.id, step.settings.language, site_routes(pages))
