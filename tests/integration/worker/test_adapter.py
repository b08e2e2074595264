"""What the warm worker uses of Prefect's inside is as it was."""

import inspect

import pytest
from prefect.logging import handlers
from prefect.workers.process import ProcessWorker

from automation.worker import adapter


@pytest.fixture
def worker(prefect_api: str) -> ProcessWorker:
    return ProcessWorker("a pool")


def test_a_worker_knows_whether_it_has_read_its_pool_and_when_it_polled_last(worker: ProcessWorker) -> None:
    assert adapter.is_synced(worker) is False
    before = worker._last_polled_time

    adapter.note_poll(worker)

    assert worker._last_polled_time > before
    assert worker.is_worker_still_polling(query_interval_seconds=1)


async def test_a_flow_run_is_submitted_by_one_call_that_takes_it_off_the_list_at_its_end(
    worker: ProcessWorker,
) -> None:
    assert worker._submitting_flow_run_ids == set()
    assert list(inspect.signature(worker._submit_run).parameters) == ["flow_run"]
    assert "self._submitting_flow_run_ids.remove(flow_run.id)" in inspect.getsource(worker._submit_run)


def test_log_lines_go_to_the_sink_with_nothing_beside_the_fields_of_the_api() -> None:
    taken: list[dict[str, object]] = []
    adapter.take_logs(taken.append)
    try:
        handlers.emit_api_log({"message": "hello"})
    finally:
        handlers.set_api_log_sink(None)

    assert taken == [{"message": "hello"}]
    assert adapter.PAYLOAD_SIZE in inspect.getsource(handlers.APILogHandler.prepare)
