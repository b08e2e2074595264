"""The connection to the API: where it is, with which key, and what its answers mean for the exit code.

What answers is not trusted: whatever is shown of it goes through `formatting.clean`.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automation.cli.exits import Code, CommandError
from automation.cli.formatting import clean

if TYPE_CHECKING:
    import httpx

    from automation.settings import Settings

Json = dict[str, Any]

LARGEST_PAGE = 200
TIMEOUT = 60.0
"""Seconds; trying a thousand executions again takes some."""
_SILENCE = 45.0
"""Seconds without a sign of life after which a stream is taken for dead; the API gives one every 15 s."""
_RECONNECTS = 20
_PAUSE = 1.0

_MEANS = {401: Code.USAGE, 404: Code.NOT_FOUND}


def address() -> tuple[str, str]:
    """URL and key of the API: AUTOMATION_API_URL, else the local installation; AUTOMATION_API_KEY, else
    AUTOMATION_API_KEY_FILE, else the local installation's own.

    Raises:
        CommandError: USAGE: a setting is missing or wrong; UNREACHABLE: there is no installation here.
    """
    url = os.environ.get("AUTOMATION_API_URL", "")
    key = os.environ.get("AUTOMATION_API_KEY", "").strip()
    if file := "" if key else os.environ.get("AUTOMATION_API_KEY_FILE", ""):
        key = _read_key(file)
    if url and not key:
        raise CommandError(
            f"AUTOMATION_API_KEY: expected the key of {url}, here or in the file that AUTOMATION_API_KEY_FILE names, "
            "since AUTOMATION_API_URL is set",
            Code.USAGE,
        )
    return (url, key) if url else _local(key)


def _local(key: str) -> tuple[str, str]:
    from automation.installation import API_KEY_FILE, local_url
    from automation.settings import get_settings

    settings = get_settings()
    if not key:
        file = home_of(settings) / API_KEY_FILE
        if not file.exists():
            raise CommandError(
                f"There is no installation in {file.parent}: start it with `automation up`, set AUTOMATION_HOME, or "
                "set AUTOMATION_API_URL and AUTOMATION_API_KEY for one that is elsewhere.",
                Code.UNREACHABLE,
            )
        key = _read_key(str(file))
    return local_url(settings.host, settings.api_port), key


def home_of(settings: "Settings") -> Path:
    """The installation's home folder, be it there or not."""
    return settings.home.expanduser().absolute()


def _read_key(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandError(f"{clean(file)}: the key cannot be read from it ({reason})", Code.USAGE) from None


class Api:
    """The API over one connection. Paths are below `/api/automation/`, and made by `at`."""

    def __init__(self, http: "httpx.Client", url: str) -> None:
        self._http = http
        self._url = url

    def get(self, path: str, **params: Any) -> Any:
        """What stands there; params that are None are left out."""
        return self.request("GET", path, params=params).json()

    def find(self, path: str) -> Any:
        """What stands there, or None if it is gone."""
        try:
            return self.get(path)
        except CommandError as error:
            if error.code == Code.NOT_FOUND:
                return None
            raise

    def post(self, path: str, body: object = None, *, idempotency_key: str | None = None) -> Any:
        """The answer to a POST; under one `idempotency_key` it counts once."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self.request("POST", path, body=body, headers=headers).json()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> "httpx.Response":
        """An answer that is no error.

        Raises:
            CommandError: the API refuses, or does not answer.
        """
        import httpx

        given = {name: _plain(value) for name, value in (params or {}).items() if value is not None}
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(method, path, params=given or None, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        self._check(answer)
        return answer

    def pages(self, path: str, limit: int | None, **params: Any) -> Json:
        """A list, as the API answers it, with as many results as wanted.

        Args:
            limit: how many; None: all of them.
        """
        listing: Json = {"results": [], "next": None, "previous": None}
        size = LARGEST_PAGE if limit is None else min(limit, LARGEST_PAGE)
        query: dict[str, Any] = params | {"page_size": size}
        while True:
            page = self.get(path, **query)
            listing["results"] += page["results"]
            listing["next"] = page["next"]
            left = None if limit is None else limit - len(listing["results"])
            if page["next"] is None or left == 0:
                return listing
            size = LARGEST_PAGE if left is None else min(left, LARGEST_PAGE)
            query = params | {"page_size": size, "cursor": _cursor(page["next"])}

    def stream(self, path: str, **params: Any) -> Iterator[tuple[str, Json]]:
        """Server-sent events, each with its name, up to and with the one named `end`; a stream that breaks off is
        begun again, behind the last event that has an id.

        Raises:
            CommandError: UNREACHABLE: it cannot be begun again.
        """
        import httpx

        left = _RECONNECTS
        given = {name: value for name, value in params.items() if value is not None}
        timeout = httpx.Timeout(_SILENCE, connect=5.0)
        seen: dict[str, str] = {}
        while True:
            try:
                with self._http.stream("GET", path, params=given or None, headers=seen, timeout=timeout) as answer:
                    if answer.is_error:
                        answer.read()
                    self._check(answer)
                    for name, data, id_ in _events(answer.iter_lines()):
                        left = _RECONNECTS
                        seen = {"Last-Event-ID": id_} if id_ else seen
                        yield name, data
                        if name == "end":
                            return
                lost: Exception = CommandError("The API has ended the stream.", Code.UNREACHABLE)
            except httpx.HTTPError as error:
                lost = self._unreachable(error)
            except CommandError as error:
                if error.code != Code.UNREACHABLE:
                    raise
                lost = error
            left -= 1
            if left <= 0:
                raise lost
            time.sleep(_PAUSE)

    def _check(self, answer: "httpx.Response") -> None:
        if answer.is_success and _is_ours(answer):
            return
        if not answer.headers.get("content-type", "").startswith("application/problem+json"):
            raise CommandError(
                f"What answers at {self._url} is not the API of Automation (HTTP {answer.status_code}); is "
                "AUTOMATION_API_URL right?",
                Code.UNREACHABLE,
            )
        problem = answer.json()
        detail, field = problem["detail"], problem.get("field") or ""
        if field and field not in detail:
            detail += f" [field: {field}]"
        unreachable = Code.UNREACHABLE if answer.status_code >= 500 else Code.REFUSED
        raise CommandError(clean(detail), _MEANS.get(answer.status_code, unreachable))

    def _unreachable(self, error: Exception) -> CommandError:
        reason = clean(str(error)) or type(error).__name__
        local = "" if os.environ.get("AUTOMATION_API_URL") else "; `automation up` starts it"
        return CommandError(f"The API at {self._url} does not answer ({reason}){local}.", Code.UNREACHABLE)


@contextmanager
def connected() -> Iterator[Api]:
    """A connection to the API.

    Raises: as `address`.
    """
    import httpx

    from automation.client.client import http_arguments

    url, key = address()
    try:
        arguments = http_arguments(url, key, TIMEOUT)
    except (ValueError, httpx.InvalidURL) as error:
        raise CommandError(f"AUTOMATION_API_URL, AUTOMATION_API_KEY: {error}", Code.USAGE) from None
    with httpx.Client(**arguments) as http:
        yield Api(http, url)


def at(*parts: object) -> str:
    """A path of the API: names that people chose may hold anything."""
    from urllib.parse import quote

    return "".join(f"{quote(str(part), safe='')}/" for part in parts)


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _cursor(link: str) -> str:
    import httpx

    return httpx.URL(link).params["cursor"]


def _is_ours(answer: "httpx.Response") -> bool:
    kind = answer.headers.get("content-type", "")
    return answer.status_code == 204 or kind.startswith(("application/json", "text/event-stream"))


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Json, str]]:
    name = id_ = ""
    for line in lines:
        if line.startswith("id: "):
            id_ = line.removeprefix("id: ")
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: ")), id_
