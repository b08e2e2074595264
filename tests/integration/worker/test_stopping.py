"""How a worker ends: told, it hands back what it cannot finish; killed, nothing of it goes on."""

import signal
from pathlib import Path

from automation.database import Database
from automation.models import Status
from tests.integration.worker.conftest import Pool, Probes, gone, marked, warm_worker


async def test_sigterm_lets_runs_finish_and_hands_the_rest_to_another_worker(
    database: Database, pool: Pool, tmp_path: Path
) -> None:
    probes = Probes(database, pool)
    with warm_worker(pool.name, tmp_path / "first.log", AUTOMATION_SHUTDOWN_GRACE="2") as worker:
        long, long_run = await probes.start(do="sleep", seconds=60, mark=str(tmp_path / "long"))
        short, short_run = await probes.start(do="sleep", seconds=1, mark=str(tmp_path / "short"))
        [pid], _ = await marked(tmp_path / "long"), await marked(tmp_path / "short")
        worker.send_signal(signal.SIGTERM)
        late, late_run = await probes.start(do="nothing")

        assert worker.wait(10) == 0

    await gone(pid)
    assert (await pool.ended(short_run, 1)).is_completed()
    assert (await probes.read(short)).status == Status.COMPLETED
    for run_id in (long_run, late_run):
        state = (await pool.read(run_id)).state
        assert state is not None
        assert state.is_scheduled()

    with warm_worker(pool.name, tmp_path / "second.log"):
        for id_, run_id in ((long, long_run), (late, late_run)):
            assert (await pool.ended(run_id)).is_completed()
            assert (await probes.read(id_)).status == Status.COMPLETED


async def test_nothing_of_a_killed_worker_goes_on(database: Database, pool: Pool, tmp_path: Path) -> None:
    probes = Probes(database, pool)
    with warm_worker(pool.name, tmp_path / "worker.log") as worker:
        await probes.start(do="sleep", seconds=60, mark=str(tmp_path / "sleeps"))
        await probes.start(do="block", seconds=60, mark=str(tmp_path / "blocks"))
        pids = [*await marked(tmp_path / "sleeps"), *await marked(tmp_path / "blocks")]
        worker.send_signal(signal.SIGKILL)

        for pid in pids:
            await gone(pid)
