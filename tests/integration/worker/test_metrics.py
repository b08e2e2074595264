"""What a worker tells of itself: to the service by samples, and to Prometheus on a port of its own."""

import socket
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from automation.database import Database
from automation.monitoring.now import Process, standing
from tests.integration.worker.conftest import Pool, until, warm_worker


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def scraped(port: int) -> dict[tuple[str, str], float]:
    """Samples by name and the value of their only label."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    except httpx.TransportError:
        return {}
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_worker_with_a_port_answers_prometheus_there(pool: Pool, tmp_path: Path) -> None:
    port = free_port()
    with warm_worker(pool.name, tmp_path / "log", AUTOMATION_WORKER_METRICS_PORT=str(port)):

        async def idle() -> bool:
            return scraped(port).get(("automation_worker_processes", "idle")) == 4

        await until(idle)
        assert (await pool.ended(await pool.start("trivial"))).is_completed()

        async def told() -> bool:
            return scraped(port).get(("automation_worker_runs_total", "done")) == 1

        await until(told)
        assert scraped(port)["process_resident_memory_bytes", ""] > 10_000_000


async def test_a_port_that_is_taken_keeps_no_worker_from_its_work(pool: Pool, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with warm_worker(pool.name, tmp_path / "log", AUTOMATION_WORKER_METRICS_PORT=port):
            assert (await pool.ended(await pool.start("trivial"))).is_completed()
    assert f"AUTOMATION_WORKER_METRICS_PORT={port}" in (tmp_path / "log").read_text()


async def test_the_service_knows_of_a_worker_and_its_children(database: Database, pool: Pool, tmp_path: Path) -> None:
    with warm_worker(pool.name, tmp_path / "log") as worker:

        async def children() -> list[Process]:
            async with database.transaction() as session:
                found = (await standing(session)).processes
            own = [one for one in found if one.role == "child" and one.parent_pid == worker.pid]
            return own if len(own) == 4 else []

        found = await until(children, patience=60)
        assert all(one.memory_bytes > 10_000_000 for one in found)
        async with database.transaction() as session:
            processes = (await standing(session)).processes
        assert [one.pid for one in processes if one.role == "worker" and one.pid == worker.pid] == [worker.pid]
