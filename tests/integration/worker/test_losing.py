"""What becomes of runs that are cancelled, or whose process dies: at once, and without harm to the others."""

import os
import signal
import time
from pathlib import Path

from prefect.states import Cancelling, Running

from automation.models import FlowRun, Status, utc_now
from automation.settings import get_settings
from tests.integration import rows
from tests.integration.worker.conftest import Probes, Served, gone, marked


async def test_a_killed_process_crashes_its_run_at_once_and_no_other(
    served: Served, probes: Probes, tmp_path: Path
) -> None:
    lost, lost_run = await probes.start(do="sleep", seconds=60, mark=str(tmp_path / "lost"))
    kept, kept_run = await probes.start(do="sleep", seconds=1.5, mark=str(tmp_path / "kept"))
    [victim], [other] = await marked(tmp_path / "lost"), await marked(tmp_path / "kept")
    assert victim != other

    os.kill(victim, signal.SIGKILL)

    state = await served.pool.ended(lost_run, patience=2)
    assert state.is_crashed()
    assert "SIGKILL" in (state.message or "")
    assert (await served.pool.ended(kept_run)).is_completed()
    assert (await probes.read(kept)).status == Status.COMPLETED
    await probes.mirrored(get_settings())
    stored = await probes.read(lost)
    assert (stored.status, stored.error_code) == (Status.RETRYING, "WORKER_LOST")


async def test_a_step_that_ends_its_process_crashes_its_run_and_the_process_is_replaced(
    served: Served, probes: Probes
) -> None:
    for _ in range(5):  # more than there are processes
        _, run_id = await probes.start(do="exit")
        state = await served.pool.ended(run_id)
        assert state.is_crashed()
        assert "exit code 7" in (state.message or "")

    assert (await served.pool.ended(await served.pool.start("trivial"))).is_completed()


async def test_a_cancelled_run_is_told_and_its_step_stops(served: Served, probes: Probes, tmp_path: Path) -> None:
    id_, run_id = await probes.start(do="sleep", seconds=60, mark=str(tmp_path / "mark"))
    await marked(tmp_path / "mark")
    began = time.monotonic()

    await served.pool.cancel(run_id)

    assert (await served.pool.ended(run_id)).is_cancelled()
    assert time.monotonic() - began < 1  # the grace period
    stored = await probes.read(id_)
    assert stored.status == Status.CANCELLED
    assert "cancelled in Prefect" in stored.error_message


async def test_a_cancelled_run_that_does_not_listen_is_killed_with_all_that_it_started(
    served: Served, probes: Probes, tmp_path: Path
) -> None:
    id_, run_id = await probes.start(do="ignore", seconds=60, mark=str(tmp_path / "ignores"))
    [pid] = await marked(tmp_path / "ignores")

    await served.pool.cancel(run_id)

    assert (await served.pool.ended(run_id, patience=4)).is_cancelled()
    await gone(pid)
    await probes.mirrored(get_settings())
    assert (await probes.read(id_)).status == Status.CANCELLED
    _, spawning = await probes.start(do="spawn", seconds=60, mark=str(tmp_path / "spawns"))
    pids = await marked(tmp_path / "spawns", 2)
    os.kill(pids[0], signal.SIGSTOP)  # deaf for good
    await served.pool.cancel(spawning)
    assert (await served.pool.ended(spawning, patience=4)).is_cancelled()
    for pid in pids:
        await gone(pid)


async def test_a_step_past_its_hard_limit_is_killed_even_if_it_blocks_its_loop(
    served: Served, probes: Probes, tmp_path: Path
) -> None:
    id_, run_id = await probes.start(do="block", seconds=60, mark=str(tmp_path / "mark"))
    [pid] = await marked(tmp_path / "mark")

    state = await served.pool.ended(run_id, patience=8)

    assert state.is_crashed()
    assert "hard limit of 4 s (AUTOMATION_STEP_HARD_TIME_LIMIT)" in (state.message or "")
    await gone(pid)
    await probes.mirrored(get_settings())
    assert (await probes.read(id_)).status == Status.RETRYING


async def test_a_cancelled_run_that_no_process_has_counts_as_stopped(served: Served, probes: Probes) -> None:
    _, run_id = await probes.start(do="nothing")
    await served.pool.ended(run_id)
    for state in (Running(), Cancelling()):
        await served.pool.prefect.set_flow_run_state(run_id, state, force=True)
    async with probes.database.transaction() as session:  # as when its process was killed half a minute ago
        row = (await rows.every(probes.database, FlowRun))[0]
        (await session.get_one(FlowRun, row.id)).lease_until = utc_now()

    assert (await served.pool.ended(run_id)).is_cancelled()
