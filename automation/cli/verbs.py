"""What the commands of all nouns do alike."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from automation.cli import formatting, remote
from automation.cli.exits import Code
from automation.cli.formatting import Column, Json

Present = Callable[[Json], None]


def list_them(
    path: str, columns: Sequence[Column], *, limit: int, everything: bool, as_json: bool, **filters: Any
) -> None:
    """Print a list of the API, narrowed by filters that are not None."""
    with remote.connected() as api:
        listing = api.pages(path, None if everything else limit, **filters)
    if as_json:
        formatting.as_json(listing)
    elif not listing["results"]:
        formatting.hint("There are none.")
    else:
        formatting.table(listing["results"], columns)
        if listing["next"]:
            formatting.hint("There are more: --limit N, or --all.")


def show_one(path: str, as_json: bool, present: Present = formatting.details) -> None:
    """Print one object; people also see its ETag, for --if-match."""
    with remote.connected() as api:
        answer = api.request("GET", path)
    printed(answer.json(), as_json, present)
    if not as_json and (tag := answer.headers.get("etag")):
        formatting.say(f"{'ETag':<22} {tag}")


def printed(answer: Json, as_json: bool, present: Present = formatting.details) -> None:
    """Print an answer for scripts, or as `present` does."""
    if as_json:
        formatting.as_json(answer)
    else:
        present(answer)


def create(path: str, body: object, as_json: bool) -> None:
    """Create an object, and print it."""
    with remote.connected() as api:
        printed(api.post(path, body), as_json)


def update(path: str, body: object, as_json: bool, *, whole: bool = False, if_match: str | None = None) -> None:
    """Change what `body` gives, or put it whole in place of what was there, and print what it is now."""
    headers = {"If-Match": if_match} if if_match else None
    with remote.connected() as api:
        printed(api.request("PUT" if whole else "PATCH", path, body=body, headers=headers).json(), as_json)


def delete(path: str, what: str, if_match: str | None = None) -> None:
    """Delete an object."""
    headers = {"If-Match": if_match} if if_match else None
    with remote.connected() as api:
        api.request("DELETE", path, headers=headers)
    formatting.hint(f"{what} is deleted.")


def started(answer: Json, as_json: bool, *, watch: bool = False) -> None:
    """Print an execution that was started, or follow it to its end, with whose exit code the command ends."""
    from automation.cli.watching import follow

    if watch:
        with remote.connected() as api:
            raise typer.Exit(follow(api, answer["id"], as_json))
    printed(answer, as_json, lambda one: formatting.say(f"Execution {one['id']} is {one['status']}."))


def repeated(post: Callable[[], Json], as_json: bool, done: str) -> None:
    """Ask again and again, until of those that are meant none is left, or none can be had now; print all of them."""
    total: Json = {"count": 0, "executions": [], "left": 0}
    while True:
        answer = post()
        total["count"] += answer["count"]
        total["executions"] += answer["executions"]
        total["left"] = answer["left"]
        if answer["left"] == 0 or answer["count"] == 0:
            break
    left = f"; {total['left']} are in somebody's hands just now" if total["left"] else ""
    printed(total, as_json, lambda one: formatting.say(f"{one['count']} executions {done}{left}."))
    if total["left"]:
        raise typer.Exit(Code.NO)
