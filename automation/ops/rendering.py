"""Making a page of a template. All values are escaped by Jinja2; no template marks anything as safe."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from automation.api.auth import Caller
from automation.api.pagination import encode_cursor
from automation.api.services import Services
from automation.models import utc_now
from automation.models.paging import Position
from automation.ops.formats import FORMATS, clock_time, full_time
from automation.ops.guard import COOKIE
from automation.ops.sessions import form_token
from automation.ops.texts import Texts, language_of
from automation.redaction import redact_text

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

_PRETTY_BYTES = 200_000
"""Characters of a value that are shown; a page document has up to a million."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"pretty": pretty, "redact": redact_text}
    environment.filters |= {"clock": clock_time, "full": full_time, "iso": datetime.isoformat}
    environment.globals["static"] = static_address
    return environment


def prepare() -> None:
    """Compile the templates, or the first who look would wait for it."""
    for name in _environment().list_templates():
        _environment().get_template(name)


async def page(
    request: Request, template: str, status: int = 200, /, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """An answer made of a template, in the language of who asks; made in a thread, as it may be long."""
    caller: Caller | None = getattr(request.state, "caller", None)
    services: Services = request.app.state.services
    language = language_of(request.headers.get("accept-language", ""), services.settings.language)
    given = {
        "t": Texts(language),
        "f": FORMATS[language],
        "now": utc_now(),
        "caller": caller,
        "may_press": caller is not None and "execute" in caller.scopes,
        "form_token": form_token(request.cookies[COOKIE]) if caller else "",
        "path": request.url.path,
        "done": request.query_params.get("done", ""),
        "link": _linking(request),
    }
    html = await asyncio.to_thread(_environment().get_template(template).render, given | values)
    return HTMLResponse(html, status, headers)


def _linking(request: Request) -> Callable[..., str]:
    """For templates: an address, with the filters of this page where they are not given anew."""

    def link(path: str = "", position: Position | None = None, **filters: Any) -> str:
        kept = dict(request.query_params) if not path else {}
        kept.pop("cursor", None)
        kept.pop("done", None)
        kept |= {name: str(value) for name, value in filters.items()}
        if position is not None:
            kept["cursor"] = encode_cursor(position)
        query = urlencode({name: value for name, value in kept.items() if value})
        return f"{path or request.url.path}?{query}" if query else path or request.url.path

    return link


@cache
def static_address(name: str) -> str:
    """The address of a file that browsers keep: another one when its content is."""
    return f"/ops/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def pretty(value: Any) -> str:
    """JSON on several lines; cut where it is very long."""
    text = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    return text if len(text) <= _PRETTY_BYTES else f"{text[:_PRETTY_BYTES]}\n…"
