"""Steps that make a site of compiled pages, and a live site of it."""

import asyncio
import json
from pathlib import Path

from automation.errors import ValidationError
from automation.models import utc_now
from automation.runtime import builds, releases, remote
from automation.runtime.documents import load_page
from automation.runtime.files import remove_folder, write_file
from automation.runtime.health import check_release
from automation.runtime.render.page import site_css, site_js
from automation.runtime.structure import form_schemas, index_page, not_found_page, routes_json, unique_routes
from automation.steps import Result, StepConfig, StepContext, step
from tasks.site import build_of, project_of, safe_name, site_of

_SHOWN = 5  # of many faults, so many stand in the message


class GenerateStructureConfig(StepConfig):
    """`create_routes`: write `routes.json`. `generate_models`: write the forms' JSON Schemas to `models/`."""

    create_routes: bool = True
    generate_models: bool = False


class VerifyReleaseConfig(StepConfig):
    """Nothing to choose: the execution's input says which release."""


class DeployToRuntimeConfig(StepConfig):
    """Where to, and what happens to a release that fails its health check.

    `rollback_enabled`: it is set aside as `<version>.failed`, and if the environment shows it already (the
    step was killed after the switch, or a file was damaged since), the environment goes back to the release
    before. Without it, folder and environment are left as they are, for an operator to repair and retry.
    """

    environment: str = releases.PRODUCTION
    rollback_enabled: bool = True


@step("GENERATE_STRUCTURE")
async def generate_structure(step: StepContext, config: GenerateStructureConfig) -> Result:
    """Add to this execution's build what its pages share: styles, script, 404 page, routes, a start page.

    Each file is written whole; run again, it writes the same.

    Returns:
        {"files": n, "routes": n, "models": n}

    Raises:
        ValidationError: no step before this one compiled any pages.
        FileSystemError: the disk refused.
    """
    return await asyncio.to_thread(_generate, step, config)


def _generate(step: StepContext, config: GenerateStructureConfig) -> Result:
    build = build_of(step)
    pages, _ = unique_routes([load_page(one) for one in build.pages])
    site = site_of(step, pages)
    files = {
        "assets/site.css": site_css(build.minify),
        "assets/site.js": site_js(build.minify),
        "404.html": not_found_page(site, build.minify),
    }
    if "/" not in build.routes:
        files["index.html"] = index_page(site, build.minify)
    if config.create_routes:
        files["routes.json"] = routes_json(pages)
    models = form_schemas(pages) if config.generate_models else {}
    files |= {f"models/{name}.json": json.dumps(schema) for name, schema in models.items()}
    for path, content in files.items():
        write_file(build.site / path, content.encode())
    step.log(f"Wrote {len(files)} files for {len(pages)} pages.")
    return {"files": len(files), "routes": len(pages) if config.create_routes else 0, "models": len(models)}


@step("VERIFY_RELEASE")
async def verify_release(step: StepContext, config: VerifyReleaseConfig) -> Result:
    """Find the release that the input asks for, and check that it is fit to go live. Writes nothing.

    The input is {"action": "promote" | "rollback", "version"?, "environment"?}. Without a version, `promote`
    takes the newest release and `rollback` the one before that which is live; without an environment,
    production is meant.

    Returns:
        {"action", "version", "environment"}

    Raises:
        ValidationError: the input is wrong, there is no such release, or it is damaged.
        NetworkError: the releases are at RUNTIME_URL, and Runtime is away.
    """
    if step.settings.runtime_url:
        there = await remote.list_releases(step.settings, project_of(step))
    else:
        there = await asyncio.to_thread(releases.overview, step.settings.runtime_root, project_of(step))
    return await asyncio.to_thread(_verify, step, there)


def _verify(step: StepContext, there: releases.Overview) -> Result:
    wish = step.trigger_data.get("input")
    if not isinstance(wish, dict) or wish.get("action") not in ("promote", "rollback"):
        raise ValidationError('VERIFY_RELEASE: input.action must be "promote" or "rollback".')
    environment = safe_name(wish.get("environment") or releases.PRODUCTION, "input.environment")
    known = there.versions
    if wish.get("version"):
        version = safe_name(wish["version"], "input.version")
    elif wish["action"] == "promote":
        version = known[0] if known else ""
    else:
        version = _before_live(there, environment)
    if version not in known:
        newest = f"the newest are {', '.join(known[:_SHOWN])}" if known else "the project was never published"
        raise ValidationError(f"VERIFY_RELEASE: there is no release {version!r}; {newest}.")
    if step.settings.runtime_url is None:  # else it is Runtime's to keep them whole
        health = check_release(releases.release_folder(step.settings.runtime_root, project_of(step), version))
        if health.faults:
            raise ValidationError(f"VERIFY_RELEASE: release {version} is damaged: {_some(health.faults)}")
    step.log(f"Release {version} is fit to go live in {environment}.")
    return {"action": wish["action"], "version": version, "environment": environment}


def _before_live(there: releases.Overview, environment: str) -> str:
    live = there.environments.get(environment)
    if live is None:
        raise ValidationError(f"VERIFY_RELEASE: nothing is live in {environment}, so nothing to roll back.")
    version = next((other for other in there.versions if other < live), None)
    if version is None:
        raise ValidationError(f"VERIFY_RELEASE: {live} is the oldest release; none is left to roll back to.")
    return version


async def take_back_deploy(step: StepContext, config: DeployToRuntimeConfig) -> Result:
    """Make live again what was live before, if the release that this execution deployed still is.

    The release stays on the disk. Run again, it changes nothing.

    Returns:
        {"restored": true, "environment", "live"}, `live` null when nothing was live before;
        {"restored": false, "environment", "reason"} when there is nothing to take back.

    Raises:
        ValidationError: what was live before has been removed.
        FileSystemError: the disk refused.
        NetworkError: Runtime is away.
    """
    done = step.results[step.identifier]
    environment, version, before = done["environment"], done["version"], done.get("previous")
    if not done["deployed"] or before == version:
        return {"restored": False, "environment": environment, "reason": "nothing was switched"}
    if step.settings.runtime_url:
        key = f"{step.idempotency_key}:rollback"
        switched = await remote.switch_back(
            step.settings, project_of(step), environment, before, if_live=version, key=key
        )
        live = switched.live
    else:
        live = await asyncio.to_thread(_switch_back, step, environment, version, before)
    if live != before:
        reason = f"{environment} shows {live or 'nothing'} and not {version} any more; nothing switched"
        step.log(reason)
        return {"restored": False, "environment": environment, "reason": reason}
    step.log(f"{environment} shows {before or 'nothing'} again, as before release {version}.")
    return {"restored": True, "environment": environment, "live": before}


def _switch_back(step: StepContext, environment: str, version: str, before: str | None) -> str | None:
    """Make `before` live in the place of `version`, if that is live; what is live then."""
    root, project_id = step.settings.runtime_root, project_of(step)
    with releases.lock_releases(root, project_id):
        live = releases.live_version(root, project_id, environment)
        if live != version:
            return live
        if before is None:
            releases.withdraw(root, project_id, environment)
        elif before in releases.list_releases(root, project_id):
            releases.switch(root, project_id, environment, before)
        else:
            raise ValidationError(f"release {before} was removed, so {environment} goes on showing {version}.")
        releases.forget_before(root, project_id, version, step.idempotency_key)
        return before


@step("DEPLOY_TO_RUNTIME", tags=("runtime-deploy",), rollback=take_back_deploy)
async def deploy_to_runtime(step: StepContext, config: DeployToRuntimeConfig) -> Result:
    """Make a release of this execution's build, or take VERIFY_RELEASE's; check it; make it live.

    What was live stays live until the switch, which is one rename, and for good if anything fails. Run again
    after a kill at any point, it finds its release and ends in the same state. A release that a newer publish
    has overtaken is not switched to. The newest `keep_releases` and all that are live are kept.

    With RUNTIME_URL the release is made and checked here, and then stored and made live there.

    Returns:
        {"deployed": true, "version", "environment", "previous", "files", "removed"}; {"deployed": false,
        "superseded": true, "reason", "version", "environment"} when a newer release is live.

    Raises:
        ValidationError: there is nothing to deploy, or the release failed its health check.
        FileSystemError: the disk refused.
        NetworkError: Runtime is away.
    """
    if step.settings.runtime_url:
        return await _deploy_there(step, config)
    return await asyncio.to_thread(_deploy, step, config)


def _deploy(step: StepContext, config: DeployToRuntimeConfig) -> Result:
    root, project_id = step.settings.runtime_root, project_of(step)
    chosen = step.results.get("verify-release") or {}
    environment = safe_name(chosen.get("environment", config.environment), "environment")
    with releases.lock_releases(root, project_id):
        version = chosen.get("version") or _own_release(step, root, project_id)
        live = releases.live_version(root, project_id, environment)
        place = {"version": version, "environment": environment}
        if not chosen and live is not None and live > version:
            reason = f"release {version} is older than {live}, live in {environment}; nothing switched"
            step.log(reason)
            return {"deployed": False, "superseded": True, "reason": reason} | place
        health = check_release(releases.release_folder(root, project_id, version))
        if health.warnings:
            step.log(f"Dead links: {_some(health.warnings)}", "WARNING")
        if health.faults:
            stays = _reject(root, project_id, environment, version) if config.rollback_enabled else live
            raise ValidationError(
                f"DEPLOY_TO_RUNTIME: release {version} failed its health check: {_some(health.faults)}; "
                f"{environment} shows {stays or 'nothing'}."
            )
        previous = releases.note_before(root, project_id, version, step.idempotency_key, live)
        releases.switch(root, project_id, environment, version)
        removed = releases.prune(root, project_id, step.settings.keep_releases)
    remove_folder(builds.build_folder(root, project_id, str(step.execution_id)))
    files = len(releases.read_release(releases.release_folder(root, project_id, version)).files)
    step.log(f"Release {version} is live in {environment}; before it was {previous or 'nothing'}.")
    return {"deployed": True, **place, "previous": previous, "files": files, "removed": removed}


async def _deploy_there(step: StepContext, config: DeployToRuntimeConfig) -> Result:
    root, project_id = step.settings.runtime_root, project_of(step)
    chosen = step.results.get("verify-release") or {}
    environment = safe_name(chosen.get("environment", config.environment), "environment")
    files, removed = 0, list[str]()
    if chosen:
        version = str(chosen["version"])
    else:
        version, files = await asyncio.to_thread(_checked_release, step, config)
        folder = releases.release_folder(root, project_id, version)
        await remote.put_release(step.settings, project_id, version, folder)
    switched = await remote.switch(
        step.settings, project_id, environment, version, key=step.idempotency_key, even_if_older=bool(chosen)
    )
    place = {"version": version, "environment": environment}
    if switched.live != version:
        reason = f"release {version} is older than {switched.live}, live in {environment}; nothing switched"
        step.log(reason)
        return {"deployed": False, "superseded": True, "reason": reason} | place
    if not chosen:
        removed = await asyncio.to_thread(_clear, step)
    step.log(f"Release {version} is live in {environment}; before it was {switched.previous or 'nothing'}.")
    return {"deployed": True, **place, "previous": switched.previous, "files": files, "removed": removed}


def _checked_release(step: StepContext, config: DeployToRuntimeConfig) -> tuple[str, int]:
    """The release of this execution's build, fit to be sent: its version, and how many files it has."""
    root, project_id = step.settings.runtime_root, project_of(step)
    with releases.lock_releases(root, project_id):
        version = _own_release(step, root, project_id)
        folder = releases.release_folder(root, project_id, version)
        health = check_release(folder)
        if health.warnings:
            step.log(f"Dead links: {_some(health.warnings)}", "WARNING")
        if health.faults:
            if config.rollback_enabled:
                releases.set_aside(root, project_id, version)
            raise ValidationError(
                f"DEPLOY_TO_RUNTIME: release {version} failed its health check: {_some(health.faults)}; "
                "nothing was sent to Runtime."
            )
        return version, len(releases.read_release(folder).files)


def _clear(step: StepContext) -> list[str]:
    """Remove what is not needed here any more, as the release is live."""
    root, project_id = step.settings.runtime_root, project_of(step)
    remove_folder(builds.build_folder(root, project_id, str(step.execution_id)))
    with releases.lock_releases(root, project_id):
        return releases.prune(root, project_id, step.settings.keep_releases)


def _own_release(step: StepContext, root: Path, project_id: str) -> str:
    """The release of this execution's build, made now if it was not made yet."""
    execution_id = str(step.execution_id)
    build = builds.open_build(builds.build_folder(root, project_id, execution_id))
    if build and build.site.is_dir():
        releases.create_release(
            root,
            project_id,
            build.site,
            version=build.version,
            execution_id=execution_id,
            created_at=utc_now().isoformat(),
            pages=build.routes,
        )
        return build.version
    version = releases.release_of(root, project_id, execution_id)
    if version is None:
        raise ValidationError(
            "DEPLOY_TO_RUNTIME: this execution has nothing to deploy. It needs COMPILE_PAGES and "
            "GENERATE_STRUCTURE, or VERIFY_RELEASE, before it; a release that failed its health check is not "
            "tried again: publish again."
        )
    return version


def _reject(root: Path, project_id: str, environment: str, version: str) -> str | None:
    """Set a broken release aside, and take the environment back from it; what the environment shows then."""
    if releases.live_version(root, project_id, environment) == version:
        before = releases.previous_release(root, project_id, version)
        if before:
            releases.switch(root, project_id, environment, before)
    if version not in releases.environments(root, project_id).values():
        releases.set_aside(root, project_id, version)
    return releases.live_version(root, project_id, environment)


def _some(faults: list[str]) -> str:
    more = len(faults) - _SHOWN
    return "; ".join(faults[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
