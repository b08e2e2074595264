"""Serves the published sites: `/<project>/…` from production, `/<project>/@<environment>/…` from elsewhere.

A process of its own that knows only the folder of the generated apps: `python -m automation.runtime.sites`.
Everything that it answers lies inside the release that is live; whatever leads out of it is not found.
"""

import logging
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from automation.logs import process
from automation.settings import get_settings

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    # The pages say the same of themselves; here it is for every file. 404.html holds its own styles.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
        "img-src 'self' data: http: https:; media-src 'self' http: https:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    ),
}
_STATIC = StaticFiles()  # for its answer to conditional requests


def create_app(root: Path) -> Starlette:
    """The application for the sites below `root`, which has one folder a project."""

    def site(request: Request) -> Response:
        response = _answer(root, request)
        response.headers.update(_SECURITY)
        response.headers["Cache-Control"] = "no-cache"  # a publish shows at once; the ETag spares the bytes
        return response

    return Starlette(routes=[Route("/{path:path}", site, methods=["GET"])])


def _answer(root: Path, request: Request) -> Response:
    path = str(request.path_params["path"])
    segments = path.split("/")
    # also what was `..%2f` in the address; a name that begins with a dot is never a page's
    if "\\" in path or "\0" in path or any(name.startswith(".") for name in segments) or "" in segments[:-1]:
        return _not_found(None)
    project, *rest = segments
    environment = rest[0][1:] if rest and rest[0].startswith("@") else None
    inner = rest[1:] if environment is not None else rest
    release = _live_release(root / project, environment) if project else None
    if release is None:
        return _not_found(None)
    if not inner:
        return _with_slash(segments[-1], request)
    file = _inside(release, *inner)
    if file is None:
        return _not_found(release)
    if not file.is_dir():
        return _file(file, request) if inner[-1] else _not_found(release)
    if inner[-1]:
        return _with_slash(inner[-1], request)
    index = _inside(release, *inner, "index.html")
    return _file(index, request) if index else _not_found(release)


def _live_release(project: Path, environment: str | None) -> Path | None:
    """The folder of what is live, with links resolved; None unless it is one of the project's releases."""
    link = project / "current" if environment is None else project / "environments" / environment
    release = _resolved(link)
    return release if release and release.parent == _resolved(project / "releases") else None


def _inside(release: Path, *names: str) -> Path | None:
    """A file or folder of a release, None if there is none or it is a link to somewhere else."""
    found = _resolved(release.joinpath(*names))
    return found if found and found.is_relative_to(release) else None


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # not there, a name too long, links in a circle
        return None


def _file(file: Path, request: Request) -> Response:
    try:
        return _STATIC.file_response(file, file.stat(), request.scope)
    except OSError:  # removed this moment
        return _not_found(None)


def _not_found(release: Path | None) -> Response:
    page = _inside(release, "404.html") if release else None
    return FileResponse(page, 404) if page else PlainTextResponse("Not found", 404)


def _with_slash(name: str, request: Request) -> Response:
    """To the folder's own address, relative, so that it holds behind a proxy under any path."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"./{quote(name, safe='@')}/{query}", 307)


def main() -> None:
    """Serve until Ctrl-C or SIGTERM, then exit 0."""
    settings = get_settings()
    process.set_up("sites", settings, prints=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it tells of each start and stop
    app = create_app(settings.runtime_root)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.sites_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    # uvicorn ends by raising the signal again, for whoever handled it before: that is us
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    server.run()


if __name__ == "__main__":
    main()
