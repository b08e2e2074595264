"""What stands before an API in the world outside: it may be shut, busy, or slow, before it lets one through."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Door:
    """An HTTP server that answers with the `statuses` it is given, in turn, and then takes everything in.

    Attributes:
        posts: the lists of events of all requests, refused ones too.
        taken: the events that it took in.
    """

    def __init__(self) -> None:
        self.statuses: deque[int] = deque()
        self.delay = 0.0
        self.posts: list[list[dict[str, Any]]] = []
        self.taken: list[dict[str, Any]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                events = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, answer = door.answer(events)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that left is no error of a test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, events: list[dict[str, Any]]) -> tuple[int, bytes]:
        self.posts.append(events)
        time.sleep(self.delay)
        status = self.statuses.popleft() if self.statuses else 202
        if status != 202:
            return status, b"{}"
        for index, event in enumerate(events):
            if event["type"].startswith("bad"):
                return 422, json.dumps({"detail": f"{index}.type: is bad", "field": f"{index}.type"}).encode()
        self.taken += events
        answers = [{"id": one["id"], "duplicate": False, "executions": []} for one in events]
        return 202, json.dumps({"events": answers}).encode()

    def __enter__(self) -> "Door":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
