"""The published sites over HTTP, as a browser and as an attacker ask for them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from automation.runtime.releases import create_release, switch

FILES = {
    "index.html": "<!doctype html><p>Home",
    "about/index.html": "<!doctype html><p>About",
    "caf\u00e9/index.html": "<!doctype html><p>Café",
    "404.html": "<!doctype html><p>Nothing here",
    "assets/site.css": "p{}",
    "assets/site.js": "1",
    "assets/x.webp": "RIFF",
    "routes.json": "{}",
}


def publish(root: Path, project: str, environment: str, version: str, **changes: str) -> Path:
    site = root / "site-to-be"
    for path, content in (FILES | changes).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    release = create_release(root, project, site, version=version, execution_id="e", created_at="", pages=[])
    switch(root, project, environment, version)
    return release


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The real process, on a free port."""

    def __init__(self, home: Path) -> None:
        self.root = home / "runtime"
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "automation.runtime.sites"],
            env=os.environ | {"AUTOMATION_HOME": str(home), "AUTOMATION_SITES_PORT": str(self.port)},
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def raw(self, target: str) -> tuple[int, bytes]:
        """Status and answer for a request target that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return int(answer.split()[1]), answer

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        assert self.process.stderr
        self.process.stderr.close()
        return code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    (home / "runtime").mkdir()
    (home / "runtime/secret.txt").write_text("SECRET")
    (home / "secret.txt").write_text("SECRET")
    started = Server(home)
    publish(started.root, "shop", "production", "v1")
    publish(started.root, "shop", "staging", "v2", **{"index.html": "<p>Staging"})
    publish(started.root, "My site", "production", "v1")
    yield started
    started.stop()


@pytest.fixture
def web(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/shop/", "Home"),
        ("/shop/about/", "About"),
        ("/shop/about/index.html", "About"),
        ("/shop/caf%C3%A9/", "Café"),
        ("/My%20site/", "Home"),
        ("/shop/@staging/", "Staging"),
        ("/shop/@production/about/", "About"),
    ],
)
def test_a_page_is_served_at_its_route(web: httpx.Client, path: str, text: str) -> None:
    answer = web.get(path)
    assert answer.status_code == 200
    assert text in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("assets/site.css", "text/css; charset=utf-8"),
        ("assets/site.js", "text/javascript; charset=utf-8"),
        ("assets/x.webp", "image/webp"),
        ("routes.json", "application/json"),
    ],
)
def test_files_have_their_types(web: httpx.Client, path: str, kind: str) -> None:
    assert web.get(f"/shop/{path}").headers["content-type"] == kind


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/shop", "/shop/"),
        ("/shop/about", "/shop/about/"),
        ("/shop/about?a=1&b=%2F", "/shop/about/?a=1&b=%2F"),
        ("/shop/caf%C3%A9", "/shop/caf%C3%A9/"),
        ("/shop/@staging", "/shop/@staging/"),
        ("/My%20site", "/My%20site/"),
    ],
)
def test_a_folder_without_its_slash_is_sent_there(web: httpx.Client, path: str, target: str) -> None:
    answer = web.get(path)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("./")
    followed = web.get(path, follow_redirects=True)
    assert (followed.status_code, followed.url.raw_path.decode()) == (200, target)


@pytest.mark.parametrize("path", ["none", "a/b/c", "about/none.html", "assets/site.css/"])
def test_what_is_not_there_gets_the_404_page_of_the_site(web: httpx.Client, path: str) -> None:
    answer = web.get(f"/shop/{path}")
    assert (answer.status_code, answer.text) == (404, FILES["404.html"])
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/nobody/", "/nobody", "/shop/@none/", "/shop/@/", "/shop/@../", "/secret.txt"])
def test_where_no_site_is_there_is_a_plain_404(web: httpx.Client, path: str) -> None:
    answer = web.get(path)
    assert (answer.status_code, answer.text) == (404, "Not found")


@pytest.mark.parametrize(
    "target",
    [
        "/shop/../secret.txt",
        "/shop/..%2fsecret.txt",
        "/shop/..%2f..%2fsecret.txt",
        "/shop/%2e%2e/%2e%2e/secret.txt",
        "/shop/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/shop/..%5c..%5csecret.txt",
        "/shop/%252e%252e%252fsecret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/.%2fsecret.txt",
        "/shop//etc/passwd",
        "/shop/%2fetc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/shop/about/%00",
        "/shop/\xff\xfe",
        "/shop/%ff%fe",
        "/shop/" + "a" * 5000,
        "/shop/.release.json",
        "/shop/@staging/../../releases/v1/.release.json",
        "/shop/@..%2f..%2freleases/v1/index.html",
        "/shop/@..%2freleases%2fv1/",
        "/.%2e/runtime/secret.txt",
    ],
)
def test_nothing_outside_the_live_release_is_ever_served(server: Server, target: str) -> None:
    status, answer = server.raw(target)
    assert status in (400, 404)
    assert b"SECRET" not in answer
    assert b"root:" not in answer
    assert b"sha256" not in answer


def test_a_link_in_a_release_that_leads_out_of_it_is_not_followed(server: Server, web: httpx.Client) -> None:
    release = publish(server.root, "tricky", "production", "v1")
    (release / "out.txt").symlink_to(server.root / "secret.txt")
    (release / "up").symlink_to("../../..")
    (release / "circle").symlink_to("circle")
    (release / "folder").mkdir()
    (release / "folder/index.html").symlink_to("/etc/passwd")
    (release / "inside.html").symlink_to("index.html")
    for path in ("out.txt", "up/secret.txt", "up/", "circle", "folder/"):
        answer = web.get(f"/tricky/{path}")
        assert (answer.status_code, answer.text) == (404, FILES["404.html"]), path
    assert web.get("/tricky/inside.html").status_code == 200


def test_an_environment_that_points_elsewhere_shows_nothing(server: Server, web: httpx.Client) -> None:
    publish(server.root, "bent", "production", "v1")
    (server.root / "bent/environments/evil").symlink_to("../..")
    (server.root / "bent/environments/gone").symlink_to("../releases/v9")
    assert web.get("/bent/@evil/secret.txt").status_code == 404
    assert web.get("/bent/@gone/").status_code == 404
    assert web.get("/bent/").status_code == 200


def test_a_switch_shows_at_once_and_a_browser_asks_again_only_for_what_changed(
    server: Server, web: httpx.Client
) -> None:
    publish(server.root, "live", "production", "v1")
    first = web.get("/live/")
    again = web.get("/live/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    publish(server.root, "live", "production", "v2", **{"index.html": "<!doctype html><p>Second release"})
    changed = web.get("/live/", headers={"If-None-Match": first.headers["etag"]})
    assert (changed.status_code, "Second" in changed.text) == (200, True)
    switch(server.root, "live", "production", "v1")
    assert "Home" in web.get("/live/").text


def test_only_reading_is_possible(web: httpx.Client) -> None:
    assert web.head("/shop/").status_code == 200
    assert web.head("/shop/").content == b""
    for method in ("POST", "PUT", "DELETE"):
        assert web.request(method, "/shop/").status_code == 405


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_cleanly_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    started = Server(tmp_path)
    started.process.send_signal(number)
    assert started.process.wait(10) == 0
    assert started.process.stderr
    assert started.process.stderr.read() == b""
    started.stop()


def test_the_process_does_not_load_prefect() -> None:
    code = "import sys, automation.runtime.sites; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
