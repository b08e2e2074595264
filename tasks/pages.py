"""Steps on the pages of a project: check them, save them, compile them."""

import asyncio
from dataclasses import dataclass
from typing import Any

from automation.errors import ValidationError
from automation.models import Json, utc_now
from automation.neighbours import path
from automation.runtime import builds, remote, store
from automation.runtime.diff import page_changes
from automation.runtime.documents import Page, check_page, load_page
from automation.runtime.render.page import render_page
from automation.runtime.structure import page_path, unique_routes
from automation.steps import Result, StepConfig, StepContext, step
from tasks.site import project_of, safe_name, site_of


class ValidatePageConfig(StepConfig):
    """`validate_json`: the document's shape. `check_components`: types, ids, positions, form fields, size."""

    validate_json: bool = True
    check_components: bool = True


class SaveToRuntimeConfig(StepConfig):
    """`update_files`: False only says what would be written. `backup_previous`: keep what is replaced."""

    update_files: bool = True
    backup_previous: bool = True


class CompilePagesConfig(StepConfig):
    """`minify`: leave out what no browser needs. `optimize_images`: OPTIMIZE_ASSETS encodes them again."""

    minify: bool = True
    optimize_images: bool = True


@step("VALIDATE_PAGE")
async def validate_page(step: StepContext, config: ValidatePageConfig) -> Result:
    """Check the event's page, or every saved page of the project when the event carries none. Writes nothing.

    Returns:
        {"valid_pages": n, "errors": []}

    Raises:
        ValidationError: a page is wrong; the text names page, component and field.
        NetworkError: the pages are at RUNTIME_URL, and Runtime is away.
    """
    if step.event_type == "page.deleted":
        return {"valid_pages": 0, "errors": []}
    page = step.trigger_data.get("page")
    pages = [page] if page is not None else await saved_pages(step)
    return await asyncio.to_thread(_validate, pages, config)


def _validate(pages: list[Any], config: ValidatePageConfig) -> Result:
    rules = config.model_dump()
    errors = [f"{_name(one)}: {fault}" for one in pages for fault in check_page(one, **rules)]
    if errors:
        raise ValidationError("; ".join(errors))
    return {"valid_pages": len(pages), "errors": []}


async def take_back_save(step: StepContext, config: SaveToRuntimeConfig) -> Result:
    """Give a page its backup back, with the version that it had, if what this execution saved is still there.

    A page that did not exist before is removed; a deleted one is there again. Run again, it changes nothing.

    Returns:
        {"restored": true, "page"}; {"restored": false, "page", "reason"} when there is nothing to take back.

    Raises:
        FileSystemError: the disk refused.
        NetworkError: Runtime is away.
    """
    done, save = step.results[step.identifier], _wanted(step, config)
    if not done.get("saved"):
        return {"restored": False, "page": save.page_id, "reason": "nothing was saved"}
    if save.page is not None and not config.backup_previous:
        reason = f"page {save.page_id!r} stays as it was saved: backup_previous is false, so there is no backup"
        step.log(reason, "WARNING")
        return {"restored": False, "page": save.page_id, "reason": reason}
    if step.settings.runtime_url:
        key = f"{step.idempotency_key}:rollback"
        restored = await remote.restore_page(step.settings, save.project_id, save.page_id, save.stamp, key=key)
    else:
        root = step.settings.runtime_root
        restored = await asyncio.to_thread(store.restore_page, root, save.project_id, save.page_id, save.stamp)
    if not restored:
        reason = f"page {save.page_id!r} is not what this execution saved any more; nothing restored"
        step.log(reason)
        return {"restored": False, "page": save.page_id, "reason": reason}
    step.log(f"Page {save.page_id!r} is what it was before.")
    return {"restored": True, "page": save.page_id}


@step("SAVE_TO_RUNTIME", rollback=take_back_save)
async def save_to_runtime(step: StepContext, config: SaveToRuntimeConfig) -> Result:
    """Write the event's page to `runtime/<project>/pages/<page>.json`, atomically, never over a newer one.

    With RUNTIME_URL, Runtime does the same there, and `path` is where it was put.

    After `page.deleted` the page is left out of the next publish, and its files are kept as a backup.
    The same execution saving again changes nothing and answers the same.

    Returns:
        {"saved": true, "path", "bytes", "version", "changes"}; {"saved": false, "superseded": true, "reason"}
        when a newer one is there; without `update_files` the former with "saved": false and "dry_run": true.

    Raises:
        ValidationError: the event carries no page, or its id or the project's cannot be a file name.
        FileSystemError: the disk refused.
        NetworkError: Runtime is away.
    """
    save = _wanted(step, config)
    if step.settings.runtime_url is None:
        return await asyncio.to_thread(_save_here, step, save)
    outcome = await remote.save_page(
        step.settings, save.project_id, save.page_id, save.page, save.stamp,
        backup_previous=config.backup_previous, dry_run=not config.update_files,
    )  # fmt: skip
    return await asyncio.to_thread(_saved, step, save, outcome)


@dataclass(frozen=True, slots=True)
class _Save:
    """What is to be saved; without a page, what is to be deleted."""

    project_id: str
    page_id: str
    page: Json | None
    stamp: store.Stamp
    config: SaveToRuntimeConfig


def _wanted(step: StepContext, config: SaveToRuntimeConfig) -> _Save:
    page = step.trigger_data.get("page")
    if not isinstance(page, dict):
        raise ValidationError("SAVE_TO_RUNTIME: the event has no object `page`; there is nothing to save.")
    page_id = safe_name(page.get("id"), "page.id")
    stamp = store.Stamp(step.occurred_at, store.version_of(page), str(step.execution_id))
    deleted = step.event_type == "page.deleted"
    return _Save(project_of(step), page_id, None if deleted else page, stamp, config)


def _save_here(step: StepContext, save: _Save) -> Result:
    root = step.settings.runtime_root
    if save.page is None:
        if not save.config.update_files:
            outcome = store.SaveResult(True)
        else:
            outcome = store.delete_page(root, save.project_id, save.page_id, save.stamp)
    elif save.config.update_files:
        outcome = store.save_page(
            root, save.project_id, save.page, save.stamp, backup_previous=save.config.backup_previous
        )
    else:
        outcome = store.preview_save(root, save.project_id, save.page, save.stamp)
    return _saved(step, save, outcome)


def _saved(step: StepContext, save: _Save, outcome: store.SaveResult) -> Result:
    """What the step answers."""
    dry = {} if save.config.update_files else {"saved": False, "dry_run": True}
    if save.page is None and dry:
        return dry | {"deleted": save.page_id}
    if not outcome.saved:
        step.log(outcome.reason)
        return {"saved": False, "superseded": True, "reason": outcome.reason}
    if save.page is None:
        step.log(f"Page {save.page_id!r}: taken out of the next publish; its files are kept.")
        changes = page_changes(outcome.previous, {"id": save.page_id})
        return {"saved": True, "deleted": save.page_id, "changes": changes}
    size = len(store.encode_page(save.page, save.stamp))
    step.log(f"Page {save.page_id!r}: {size} bytes {'would be written' if dry else 'written'}.")
    result: Result = {
        "saved": True,
        "path": _place(step, save),
        "bytes": size,
        "version": save.stamp.version,
        "changes": page_changes(outcome.previous, save.page),
    }
    return result | dry


def _place(step: StepContext, save: _Save) -> str:
    if step.settings.runtime_url:
        return step.settings.runtime_url + path("projects", save.project_id, "pages", save.page_id)
    return str(store.page_file(step.settings.runtime_root, save.project_id, save.page_id))


async def saved_pages(step: StepContext) -> list[Json]:
    """All pages of the step's project.

    Raises:
        ValidationError: a file is damaged; the text names it.
        NetworkError: they are at RUNTIME_URL, and Runtime is away.
    """
    if step.settings.runtime_url:
        return await remote.list_pages(step.settings, project_of(step))
    return await asyncio.to_thread(store.list_pages, step.settings.runtime_root, project_of(step))


@step("COMPILE_PAGES")
async def compile_pages(step: StepContext, config: CompilePagesConfig) -> Result:
    """Compile every saved page of the project to HTML, in a new build folder of this execution.

    The folder appears with all pages or not at all; a later try replaces it.

    Returns:
        {"pages": n, "bytes": n, "version", "minify", "optimize_images"}

    Raises:
        ValidationError: the project has no pages, or one of them is wrong; the text names it.
        FileSystemError: the disk refused.
        NetworkError: the pages are at RUNTIME_URL, and Runtime is away.
    """
    return await asyncio.to_thread(_compile, step, config, await saved_pages(step))


def _compile(step: StepContext, config: CompilePagesConfig, documents: list[Json]) -> Result:
    root, project_id, execution_id = step.settings.runtime_root, project_of(step), str(step.execution_id)
    if not documents:
        raise ValidationError(
            f"Project {project_id!r} has no saved pages, so there is nothing to publish: save a page in Studio first."
        )
    pages, warnings = unique_routes([_load(one) for one in documents])
    for warning in warnings:
        step.log(warning, "WARNING")
    site = site_of(step, pages)
    files = {page_path(page.route): render_page(page, site=site, minify=config.minify) for page in pages}
    build = builds.Build(
        folder=builds.build_folder(root, project_id, execution_id),
        version=builds.new_version(utc_now(), execution_id),
        minify=config.minify,
        optimize_images=config.optimize_images,
        routes=[page.route for page in pages],
        pages=documents,
    )
    builds.start_build(build, files)
    size = sum(len(content.encode()) for content in files.values())
    step.log(f"Compiled {len(files)} pages, {size} bytes, for release {build.version}.")
    return {"pages": len(files), "bytes": size, "version": build.version} | config.model_dump()


def _load(document: Json) -> Page:
    try:
        return load_page(document)
    except ValidationError as error:
        raise ValidationError(f"{_name(document)} cannot be compiled: {error}") from None


def _name(page: Any) -> str:
    page_id = page.get("id") if isinstance(page, dict) else None
    return f"page {page_id!r}" if isinstance(page_id, str) else "page"
