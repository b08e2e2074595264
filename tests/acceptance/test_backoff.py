"""What waits for its next try waits in the table: it takes no process from what can run."""

from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.conftest import Installation, Json, until

UNREACHABLE = {
    "step_type": "HTTP_REQUEST",
    "config": {"url": "http://nowhere.invalid/", "retry": {"NETWORK_ERROR": {"backoff": 600, "jitter": 0}}},
}
WORK = {"step_type": "TRANSFORM", "config": {"output": {"done": True}}}
BACKED_OFF, WORKING = 100, 12


def test_a_hundred_backoffs_take_no_slot_from_what_can_run(installation: Installation) -> None:
    failing = _start(installation, "backs-off", UNREACHABLE, BACKED_OFF)
    waiting = {"workflow_id": failing, "status": "RETRYING"}
    until(
        lambda: len(installation.executions(**waiting)) == BACKED_OFF, 200, lambda: installation.executions(**waiting)
    )

    working = _start(installation, "works", WORK, WORKING)
    ended = installation.all_ended(60, workflow_id=working)
    still = installation.executions(workflow_id=failing)

    assert [one["status"] for one in ended] == ["COMPLETED"] * WORKING
    assert _running_in_prefect(installation) == 0
    assert {one["status"] for one in still} == {"RETRYING"}
    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(lambda one: installation.studio.post(f"executions/{one['id']}/cancel/"), still))
    assert {answer.status_code for answer in answers} == {202}
    assert {one["status"] for one in installation.all_ended(workflow_id=failing)} == {"CANCELLED"}


def _start(installation: Installation, name: str, step: Json, executions: int) -> str:
    """The id of a new workflow of one step, which is started so often."""
    body = {"name": name, "project_id": name, "steps": [step], "triggers": [{"trigger_type": "API_CALL"}]}
    made = installation.studio.post("workflows/", json=body)
    assert made.status_code == 201, made.text
    id_ = str(made.json()["id"])
    with ThreadPoolExecutor(4) as senders:
        answers = senders.map(
            lambda _: installation.studio.post(f"workflows/{id_}/execute/", json={"input": {}}), range(executions)
        )
        assert {answer.status_code for answer in answers} == {202}
    return id_


def _running_in_prefect(installation: Installation) -> int:
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}, "tags": {"all_": ["project:backs-off"]}}}
    return int(installation.prefect.post("flow_runs/count", json=body).json())
