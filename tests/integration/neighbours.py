"""Neighbours as real web servers: they can be away, come back at the same address, refuse, and answer slowly."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import orjson

Answer = tuple[int, dict[str, Any]]


class Request:
    """What a neighbour was asked."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))

    @property
    def key(self) -> str:
        return str(self.headers["Idempotency-Key"])

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Neighbour:
    """A web server that remembers what it was asked, and answers 200 unless `answer` says otherwise."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: (200, {})
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.come()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def apprise_url(self) -> str:
        """Its address as Apprise takes it; what is told there comes as JSON."""
        return self.url.replace("http", "json", 1)

    @property
    def effects(self) -> list[Any]:
        """The bodies in their order; what came again under a key that was known is no effect."""
        return list({one.key: one.json for one in reversed(self.requests)}.values())[::-1]

    def come(self) -> None:
        neighbour = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                request = Request(self)
                neighbour.requests.append(request)
                status, body = neighbour.answer(request)
                content = orjson.dumps(body)
                self.send_response(status)
                for name, value in body.get("headers", {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def go(self) -> None:
        """Be away: connections are refused."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
