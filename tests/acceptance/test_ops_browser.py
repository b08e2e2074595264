"""The operations pages in a real browser, on a real installation. Collected where a Chromium is installed."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.acceptance.conftest import BROWSER, Installation, until
from tests.acceptance.studio import HOSTILE, created, event, page

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = ((1280, 800), (768, 1024), (360, 740))
COMPLAINS = ("error", "warning")
NORMAL = 20_000
"""Milliseconds that what has to happen may take; it happens within one or two seconds."""


class Gate:
    """A server outside, which answers a request when it is told to, or refuses all of them."""

    def __init__(self) -> None:
        gate = self
        self.open = Semaphore(0)
        self.refuses = False

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.open.acquire(timeout=120)
                body = json.dumps({"done": self.path}).encode()
                self.send_response(422 if gate.refuses else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def let_through(self, number: int) -> None:
        self.open.release(number)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    serving = Thread(target=gate.server.serve_forever)
    serving.start()
    yield gate
    gate.let_through(1000)
    gate.server.shutdown()
    serving.join()
    gate.server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def watched(installation: Installation) -> Iterator[str]:
    """A project with something on every page; its id."""
    project = "watched"
    installation.send(created(project), page(project, "home"), {**event("order.created", project), "id": "ops-order"})
    workflow(installation, project, {"step_type": "HTTP_REQUEST", "config": {"url": "http://10.1.2.3/"}}, run=True)
    approval = {"step_type": "APPROVAL", "config": {"message": HOSTILE}}
    workflow(installation, project, approval, {"step_type": "TRANSFORM"}, run=True)
    until(lambda: installation.executions(project_id=project, status="FAILED"))
    until(lambda: installation.executions(project_id=project, status="WAITING"))
    until(lambda: installation.executions(project_id=project, status="COMPLETED"))
    yield project
    for one in installation.executions(project_id=project, status="WAITING"):
        installation.studio.post(f"executions/{one['id']}/cancel/")


def workflow(installation: Installation, project: str, *steps: dict[str, Any], run: bool = False) -> str:
    """A workflow of these steps, one after the other; its id, or that of its execution if it is to run."""
    body = {
        "name": f"Watched {uuid4().hex[:6]}", "project_id": project, "trigger_type": "API_CALL",
        "steps": [{"identifier": f"step-{n}", "order": n, "config": {}, **one} for n, one in enumerate(steps, start=1)],
    }  # fmt: skip
    answer = installation.studio.post("workflows/", json=body)
    assert answer.status_code == 201, answer.text
    return execute(installation, answer.json()["id"]) if run else str(answer.json()["id"])


def execute(installation: Installation, workflow_id: str) -> str:
    answer = installation.studio.post(f"workflows/{workflow_id}/execute/", json={"input": {}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def for_each(gate: Gate, number: int) -> dict[str, Any]:
    """A step that asks the gate so often, once at a time."""
    inner = {"step_type": "HTTP_REQUEST", "config": {"url": gate.url + "/{{ item }}"}}
    return {"step_type": "FOR_EACH", "config": {"items": list(range(number)), "step": inner, "parallel": 1}}


@contextmanager
def signed_in(browser: Browser, installation: Installation, **options: Any) -> Iterator[Page]:
    """A page of somebody who has signed in by keyboard; at the end the browser must not have complained."""
    context: BrowserContext = browser.new_context(locale="en-GB", **options)
    tab = context.new_page()
    tab.set_default_timeout(NORMAL)
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type in COMPLAINS else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"http://127.0.0.1:{installation.env['AUTOMATION_API_PORT']}/ops/")
    expect(tab.get_by_label("API key")).to_be_focused(timeout=NORMAL)
    tab.keyboard.type((installation.home / "api.key").read_text().strip())
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Queues")).to_be_visible(timeout=NORMAL)
    yield tab
    assert complaints == []
    context.close()


def go(tab: Page, path: str) -> None:
    tab.goto(f"{tab.url.split('/ops/')[0]}/ops/{path}")


# --- how it looks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}px")
def test_every_page_suits_every_screen_and_everybody(
    installation: Installation, browser: Browser, watched: str, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    failed, waiting = (
        installation.executions(project_id=watched, status=one)[0]["id"] for one in ("FAILED", "WAITING")
    )
    pages = {
        "now": "", "history": "history/?window=1h", "executions": "executions/", "failed": f"executions/{failed}/",
        "waiting": f"executions/{waiting}/", "events": "events/", "event": "event/?id=ops-order",
        "letters": "dead-letters/", "approvals": "approvals/", "deliveries": "deliveries/", "alerts": "alerts/",
    }  # fmt: skip
    options = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": scheme}
    with signed_in(browser, installation, **options) as tab:
        for name, path in pages.items():
            go(tab, path)
            tab.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            assert tab.title() != "owned"
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                f"{name} is wider than the screen"
            )
            found = Axe().run(tab)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"


def test_the_login_suits_everybody_too(installation: Installation, browser: Browser) -> None:
    for scheme in ("light", "dark"):
        tab = browser.new_page(color_scheme=scheme)
        tab.goto(f"http://127.0.0.1:{installation.env['AUTOMATION_API_PORT']}/ops/")
        assert Axe().run(tab).violations_count == 0
        tab.close()


def test_whoever_has_only_a_keyboard_gets_everywhere_and_sees_where_they_are(
    installation: Installation, browser: Browser, watched: str
) -> None:
    with signed_in(browser, installation) as tab:
        tab.keyboard.press("Tab")
        expect(tab.get_by_role("link", name="Skip to the content")).to_be_focused()
        names = []
        for _ in range(8):
            tab.keyboard.press("Tab")
            names.append(tab.evaluate("document.activeElement.innerText"))
            assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert names[:7] == ["Automation", "Now", "History", "Executions", "Events", "Dead letters", "Alerts"]
        tab.keyboard.type("ops-order")
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("heading", name="order.created")).to_be_visible()


# --- live ---------------------------------------------------------------------------------------------------------


def test_progress_moves_and_the_log_grows_while_somebody_looks(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    id_ = workflow(installation, watched, for_each(gate, 4), {"step_type": "TRANSFORM"}, run=True)
    with signed_in(browser, installation) as tab:
        go(tab, f"executions/{id_}/")
        tab.evaluate("window.stays = true")
        bar = tab.locator("#live progress")
        seen = []
        for number in (1, 2, 3):
            gate.let_through(1)
            expect(tab.get_by_text(f"{number} of 4 items")).to_be_visible(timeout=NORMAL)
            seen.append(float(bar.get_attribute("value") or 0))
        assert seen == [0.25, 0.5, 0.75]
        gate.let_through(1)
        expect(tab.locator("#live h1 + .badge")).to_have_text("completed", timeout=NORMAL)
        expect(tab.locator("#log-lines")).to_contain_text("TRANSFORM completed", timeout=NORMAL)
        expect(tab.get_by_role("button", name="Cancel")).to_have_count(0)
        assert tab.evaluate("window.stays"), "nothing was loaded anew"


def test_the_first_page_shows_by_itself_what_begins_and_ends(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    with signed_in(browser, installation) as tab:
        id_ = workflow(installation, watched, for_each(gate, 2), run=True)
        row = tab.locator("tr").filter(has=tab.locator(f'a[href*="{id_}"]'))
        expect(row).to_be_visible(timeout=NORMAL)
        gate.let_through(1)
        expect(row.locator("progress")).to_have_attribute("value", "0.5", timeout=NORMAL)
        gate.let_through(1)
        expect(row).to_have_count(0, timeout=NORMAL)


def test_what_changes_between_the_page_and_its_stream_is_seen_too(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    work = {"step_type": "HTTP_REQUEST", "config": {"url": gate.url}}
    ask = {"step_type": "APPROVAL", "config": {"message": "Go live?"}}
    id_ = workflow(installation, watched, work, ask, run=True)
    held: list[Route] = []
    with signed_in(browser, installation) as tab:
        tab.route("**/stream/", lambda route: held.append(route))
        with tab.expect_request("**/stream/"):
            go(tab, f"executions/{id_}/")
        expect(tab.get_by_role("button", name="Approve")).to_have_count(0)
        gate.let_through(1)
        until(lambda: installation.execution(id_)["status"] == "WAITING")
        held.pop().continue_()
        tab.get_by_role("button", name="Approve").click()
        expect(tab.locator("#live h1 + .badge")).to_have_text("completed", timeout=NORMAL)


def test_a_button_that_has_the_focus_goes_when_the_focus_does(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    id_ = workflow(installation, watched, for_each(gate, 1), run=True)
    with signed_in(browser, installation) as tab:
        go(tab, f"executions/{id_}/")
        cancel = tab.get_by_role("button", name="Cancel")
        cancel.focus()
        gate.let_through(1)
        expect(tab.locator("#live h1 + .badge")).to_have_text("completed", timeout=NORMAL)
        expect(cancel).to_be_focused()
        tab.keyboard.press("Tab")
        expect(cancel).to_have_count(0, timeout=NORMAL)


# --- the buttons ----------------------------------------------------------------------------------------------------


def test_cancel_is_pressed_and_the_execution_stops(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    id_ = workflow(installation, watched, for_each(gate, 2), run=True)
    with signed_in(browser, installation) as tab:
        go(tab, f"executions/{id_}/")
        expect(tab.locator("#live h1 + .badge")).to_have_text("running", timeout=NORMAL)
        tab.get_by_role("button", name="Cancel").click()
        expect(tab.get_by_role("status")).to_contain_text("It is cancelled")
        expect(tab.locator("#live h1 + .badge")).to_have_text("cancelled", timeout=NORMAL)
        expect(tab.get_by_role("button", name="Retry")).to_be_visible(timeout=NORMAL)

    assert installation.ended(id_)["status"] == "CANCELLED"


def test_retry_from_a_step_is_pressed_and_what_comes_before_is_not_repeated(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    gate.refuses = True
    gate.let_through(100)
    ask = {"step_type": "HTTP_REQUEST", "config": {"url": gate.url}}
    id_ = workflow(installation, watched, {"step_type": "TRANSFORM"}, ask, run=True)
    first = installation.ended(id_)
    assert first["status"] == "FAILED", first
    gate.refuses = False
    with signed_in(browser, installation) as tab:
        go(tab, f"executions/{id_}/")
        tab.get_by_label("Retry from").select_option("step-2")
        tab.get_by_label("Reason").fill("it is back")
        tab.get_by_role("button", name="Retry").click()
        expect(tab.locator("#live h1 + .badge")).to_have_text("completed", timeout=NORMAL)
        expect(tab.locator("#live")).to_contain_text("it is back")

    after = installation.execution(id_)
    assert after["steps"][0]["started_at"] == first["steps"][0]["started_at"]
    assert after["attempts"][-1]["from_step"] == "step-2"


@pytest.mark.parametrize(("button", "status"), [("Approve", "COMPLETED"), ("Reject", "FAILED")])
def test_an_approval_is_answered(
    installation: Installation, browser: Browser, watched: str, button: str, status: str
) -> None:
    ask = {"step_type": "APPROVAL", "config": {"message": "Go live?"}}
    id_ = workflow(installation, watched, {"step_type": "TRANSFORM"}, ask, run=True)
    with signed_in(browser, installation) as tab:
        go(tab, f"executions/{id_}/")
        tab.get_by_label("In whose name").fill("Léa")
        tab.get_by_role("button", name=button).click()
        expect(tab.locator("#live")).to_contain_text("api: Léa", timeout=NORMAL)

    assert installation.ended(id_)["status"] == status


def test_without_scripts_everything_is_there_after_a_reload(
    installation: Installation, browser: Browser, watched: str, gate: Gate
) -> None:
    id_ = workflow(installation, watched, for_each(gate, 2), run=True)
    with signed_in(browser, installation, java_script_enabled=False) as tab:
        gate.let_through(1)
        until(lambda: installation.execution(id_)["steps"][0]["progress"] == 0.5)
        go(tab, f"executions/{id_}/")
        expect(tab.get_by_text("1 of 2 items")).to_be_visible()
        tab.get_by_label("Level from").select_option("ERROR")
        tab.get_by_role("button", name="Filter").click()
        expect(tab).to_have_url(re.compile("level=ERROR"))
        tab.get_by_role("button", name="Cancel").click()
        expect(tab.get_by_role("status")).to_contain_text("It is cancelled")
        tab.get_by_role("button", name="Sign out").click()
        expect(tab.get_by_label("API key")).to_be_visible()

    assert installation.ended(id_)["status"] == "CANCELLED"
