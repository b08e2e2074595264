"""What a warm worker's children say to Prefect while its server has no database."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from automation.database import Database
from tests.integration.worker.conftest import Pool, Probes, warm_worker

REFUSED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class Relay:
    """Stands before Prefect's server, and answers 500 in its place to the first that says COMPLETED of a flow run."""

    def __init__(self, prefect_api: str) -> None:
        self.target = urlsplit(prefect_api)
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.target.hostname, self.target.port)
        answers = asyncio.create_task(_copy(there, writer))
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(65_536):
                if re.match(rb"POST /api/flow_runs/\S+/set_state ", data):
                    data += await _rest(reader, data)
                    if b'"COMPLETED"' in data and not self.refused:
                        self.refused += 1
                        writer.write(REFUSED)
                        continue
                back.write(data)
                await back.drain()
        answers.cancel()
        back.close()
        writer.close()


async def _rest(reader: asyncio.StreamReader, data: bytes) -> bytes:
    """What of a request has not come yet."""
    more = b""
    while b"\r\n\r\n" not in data + more:
        more += await reader.read(65_536)
    head, _, body = (data + more).partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return more + await reader.readexactly(int(length[1] if length else 0) - len(body))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def relayed(prefect_api: str) -> AsyncIterator[tuple[Relay, str]]:
    relay = Relay(prefect_api)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield relay, relay.target._replace(netloc=f"127.0.0.1:{port}").geturl()
    finally:
        server.close()


async def test_a_run_that_is_done_says_so_again_when_prefects_database_was_away(
    database: Database, pool: Pool, prefect_api: str, tmp_path: Path
) -> None:
    probes = Probes(database, pool)
    async with relayed(prefect_api) as (relay, url):
        with warm_worker(pool.name, tmp_path / "worker.log", PREFECT_API_URL=url):
            execution_id, run_id = await probes.start()
            state = await pool.ended(run_id)

    assert relay.refused == 1
    assert state.is_completed(), state
    assert (await probes.read(execution_id)).status == "COMPLETED"
