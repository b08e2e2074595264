"""`make demo`: a project is made, its pages are edited and published, and you watch what Automation does.

Everything goes through the public doors: events to the API, answers from it, the site from its server.
With DEMO_EXIT=1 it stops everything at the end and exits 0; otherwise it stays up until Ctrl-C.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from automation.errors import AutomationError, SettingError, UnavailableError
from automation.installation import API_KEY_FILE, Installation, local_url
from automation.settings import get_settings
from automation.up import running

PROJECT = "demo"
TIMEOUT = 120.0
"""Seconds after which the demo gives up waiting for its executions."""

console = Console()


def component(id_: str, type_: str, y: int, height: int, **config: Any) -> dict[str, Any]:
    """A component over the whole width of the grid."""
    return {
        "id": id_,
        "type": type_,
        "position": {"x": 0, "y": y, "width": 12, "height": height},
        "config": config,
    }


def page(id_: str, name: str, route: str, version: int, *body: dict[str, Any]) -> dict[str, Any]:
    """A page as Studio sends it, with the menu and the footer that all have."""
    items = [("Accueil", "/"), ("Produits", "/produits"), ("Contact", "/contact")]
    menu = component("menu", "Menu", 0, 1, items=[{"label": label, "href": href} for label, href in items])
    return {
        "id": id_,
        "name": name,
        "route": route,
        "version": version,
        "config": {
            "layout": "grid",
            "components": [menu, *body, component("footer", "Footer", 90, 1, text="Fait avec Studio")],
            "styles": {"primaryColor": "#2563eb", "fontFamily": "Inter, sans-serif", "spacing": "16px"},
        },
    }


def edits() -> list[dict[str, Any]]:
    """What somebody does in Studio: three pages, each changed a few times."""
    fields = [
        {"name": "email", "type": "email", "label": "E-mail", "required": True},
        {"name": "message", "type": "textarea", "label": "Message", "required": True},
    ]
    pages = []
    for version in range(1, 5):
        title = component("title", "Header", 1, 2, title="Bienvenue !"[: 4 + 2 * version], level=1)
        text = component("text", "Text", 3, 2, text="Cette page est enregistrée à chaque geste. " * version)
        card = component("card", "Card", 2, 3, title=f"Lampe n° {version}", text="Une lampe de bureau.")
        form = component("form", "Form", 2, 4, fields=fields[: 1 + version // 2], submitText="Envoyer")
        pages += [
            page("home", "Accueil", "/", version, title, text),
            page("products", "Produits", "/produits", version, card),
            page("contact", "Contact", "/contact", version, form),
        ]
    return pages


class Studio:
    """Plays Studio: sends events and reads what became of them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def send(self, type_: str, **data: Any) -> list[dict[str, Any]]:
        """Send one event; the executions that it started."""
        event = {
            "type": type_,
            "timestamp": datetime.now(UTC).isoformat(),
            "data": {"project_id": PROJECT, "user_id": "demo-user", **data},
        }
        answer = await self.client.post("events/", json=event)
        answer.raise_for_status()
        executions: list[dict[str, Any]] = answer.json()["events"][0]["executions"]
        return executions

    async def finished(self, ids: set[str]) -> list[dict[str, Any]]:
        """Wait until these executions have ended, showing how far they are.

        Raises:
            UnavailableError: they take longer than two minutes.
        """
        seen: dict[str, str] = {}
        async with asyncio.timeout(TIMEOUT):
            while True:
                details = [(await self.client.get(f"executions/{id_}/")).json() for id_ in ids]
                for one in details:
                    self._show(one, seen)
                if all(one["status"] in ("COMPLETED", "FAILED", "CANCELLED") for one in details):
                    return sorted(details, key=lambda one: str(one["created_at"]))
                await asyncio.sleep(0.25)

    def _show(self, execution: dict[str, Any], seen: dict[str, str]) -> None:
        now = next((s["type"] for s in execution["steps"] if s["status"] == "RUNNING"), execution["status"])
        if seen.get(execution["id"]) != now:
            seen[execution["id"]] = now
            console.print(f"  {execution['workflow_name']:<24} {execution['key'] or '':<10} {now}")


async def play(installation: Installation) -> None:
    """The demo itself, on a running installation."""
    settings = installation.settings
    base = f"http://127.0.0.1:{settings.api_port}/api/automation/"
    headers = {"Authorization": f"Bearer {installation.api_key}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
        studio = Studio(client)
        console.rule("Studio creates a project")
        project = {"id": PROJECT, "name": "Démo", "owner": {"id": "demo-user", "email": "demo@example.org"}}
        await studio.send("project.created", project=project)
        workflows = (await client.get("workflows/", params={"project_id": PROJECT})).json()["results"]
        console.print(f"  {len(workflows)} workflows: {', '.join(one['name'] for one in workflows)}")

        console.rule("Somebody drags and drops")
        ids: set[str] = set()
        for number, one in enumerate(edits(), start=1):
            ids |= {started["id"] for started in await studio.send("page.updated", page=one)}
            console.print(f"  edit {number:2}: page {one['id']}, version {one['version']}")
        console.print(f"  {len(edits())} edits are {len(ids)} executions so far: while one waits, it takes the next in")

        console.rule("Studio publishes")
        ids |= {started["id"] for started in await studio.send("project.published")}
        executions = await studio.finished(ids)
        console.print(_table(executions))
        await _open_site(installation)
        if failed := [one for one in executions if one["status"] == "FAILED"]:
            raise UnavailableError(f"{len(failed)} executions failed: {failed[0]['error_message']}")


def _table(executions: list[dict[str, Any]]) -> Table:
    table = Table("workflow", "key", "status", "events", title="What Automation did")
    table.add_column("steps", no_wrap=True)
    for one in executions:
        steps = "\n".join(_step(step) for step in one["steps"])
        table.add_row(one["workflow_name"], one["key"], one["status"], str(one["event_count"]), steps)
        table.add_section()
    return table


def _step(step: dict[str, Any]) -> str:
    unusual = "" if step["status"] == "COMPLETED" else f" {step['status']}"
    return f"{step['type']:<18}{step['duration_ms'] or 0:7.1f} ms{unusual}"


async def _open_site(installation: Installation) -> None:
    settings = installation.settings
    address = f"http://127.0.0.1:{settings.sites_port}/{PROJECT}/"
    async with httpx.AsyncClient() as client:
        answer = await client.get(address)
        answer.raise_for_status()
    console.print(f"[bold]The site:[/]       {address}  ({len(answer.content)} bytes)")
    console.print(f"[bold]On disk:[/]        {settings.runtime_root / PROJECT / 'current'}")
    pages = f"{local_url(settings.host, settings.api_port)}/ops/"
    key = settings.home / API_KEY_FILE
    console.print(f"[bold]Operations:[/]     {pages}  (what runs, what went wrong; the key: {key})")
    ui = installation.prefect_api_url.removesuffix("/api")
    console.print(f"[bold]Prefect's UI:[/]   {ui}/runs  (history, logs, retries)")


async def demo() -> None:
    """Start everything, play, and stay until Ctrl-C unless DEMO_EXIT=1."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with running(get_settings()) as installation:
        await play(installation)
        if os.environ.get("DEMO_EXIT") != "1":
            console.print("Everything stays up. Ctrl-C stops it.")
            await asyncio.Event().wait()


def main() -> int:
    os.environ.setdefault("AUTOMATION_LOG_FORMAT", "text")  # it is for people, also through a pipe
    try:
        with suppress(asyncio.CancelledError):
            asyncio.run(demo())
    except AutomationError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    except TimeoutError:
        print(f"demo: the executions did not end within {TIMEOUT:g} s.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
