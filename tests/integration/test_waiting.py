"""Steps that wait: no process waits with them, and what they wait for comes through whatever door it likes."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.states import Cancelling, Running, Scheduled
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.errors import ConflictError, NotFoundError, ValidationError
from automation.intake import accept, parse_event, waits
from automation.models import FlowRun, Status, Wait, WorkflowStep, utc_now
from automation.settings import get_settings
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep, failing, ran, steps
from tests.integration.rows import every, execution, planned, stored, stored_run, workflow
from tests.integration.service import Service

pytestmark = pytest.mark.usefixtures("deployed")


def waiting(step_type: str, order: int = 1, identifier: str = "waits", **config: Any) -> WorkflowStep:
    return WorkflowStep(identifier=identifier, step_type=step_type, order=order, config=config)


@pytest.fixture
def service(database: Database, prefect: PrefectClient) -> Service:
    return Service(database, prefect)


async def only_wait(database: Database) -> Wait:
    [wait] = await every(database, Wait)
    assert isinstance(wait, Wait)
    return wait


async def is_due(database: Database) -> None:
    """The time that is waited for has come."""
    async with database.transaction() as session:
        await session.execute(update(Wait).values(due_at=utc_now() - timedelta(seconds=1)))


async def begun(database: Database, prefect: PrefectClient, *of: Any, **values: Any) -> tuple[UUID, PrefectRun]:
    """An execution of these steps that has come as far as it could, and its run."""
    id_ = await execution(database, await workflow(database, *of), **values)
    flow_run = await carry(prefect, id_)
    state = await run(prefect, flow_run)
    there = await stored(database, id_)
    assert (state.name, there.status, there.completed_at) == ("Suspended", Status.WAITING, None)
    return id_, flow_run


async def test_a_wait_holds_no_process_and_goes_on_when_its_time_has_come(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    before, after = planned(make("BEFORE"), 1), planned(make("AFTER"), 3)
    id_, flow_run = await begun(database, prefect, before, waiting("WAIT", 2, seconds=3600), after)

    await service.look()
    found = await steps(database, id_)
    assert {name: one.status for name, one in found.items()} == {"before": "COMPLETED", "waits": "WAITING"}
    wait = await only_wait(database)
    assert timedelta(minutes=59) < (wait.due_at or utc_now()) - utc_now() <= timedelta(hours=1)
    [row] = [one for one in await every(database, FlowRun) if one.prefect_id == flow_run.id]
    assert (row.state, row.claimed_at) == ("PAUSED", None)
    assert (await service.state(flow_run)).name == "Suspended"

    await is_due(database)
    await service.look()
    assert (await service.state(flow_run)).name == "Resuming"
    assert (await run(prefect, flow_run)).is_completed()

    done = await stored(database, id_)
    assert (done.status, done.attempt) == (Status.COMPLETED, 1)
    assert "waited_until" in done.result["steps"]["waits"]
    assert ran == ["BEFORE", "AFTER"]
    await service.in_line()


async def test_a_time_that_has_passed_is_not_waited_for(database: Database, prefect: PrefectClient) -> None:
    of = await workflow(database, waiting("WAIT", until="2020-01-01T00:00:00Z"))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).is_completed()


async def test_a_wait_outlives_its_flow_run(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("WAIT", seconds=3600), planned(make("AFTER"), 2))
    await prefect.delete_flow_run(flow_run.id)
    await service.look()
    assert (await stored(database, id_)).status == Status.WAITING

    await is_due(database)
    await service.look()

    row = await stored_run(database, (await stored(database, id_)).flow_run_id or UUID(int=0))
    assert row.prefect_id not in (None, flow_run.id)
    assert (await run(prefect, await prefect.read_flow_run(row.prefect_id or UUID(int=0)))).is_completed()
    assert ran == ["AFTER"]


async def test_a_branch_beside_a_wait_goes_on_and_each_of_two_waits_ends_by_itself(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(
        database,
        prefect,
        waiting("APPROVAL", 1, "asks"),
        waiting("WAIT", 1, "sleeps", seconds=3600),
        planned(make("BESIDE"), 1),
        planned(make("BEHIND"), 2, depends_on=["sleeps"]),
        planned(make("LAST"), 3),
    )
    assert ran == ["BESIDE"]

    await is_due(database)  # of the WAIT; nobody has answered
    async with database.transaction() as session:
        await session.execute(update(Wait).where(Wait.kind == "approval").values(due_at=None))
    await service.look()
    assert (await run(prefect, flow_run)).name == "Suspended"
    assert ran == ["BESIDE", "BEHIND"]
    assert {one.identifier: one.status for one in await every(database, Wait)} == {
        "asks": "WAITING", "sleeps": "RESOLVED",
    }  # fmt: skip

    async with database.transaction() as session:
        await waits.approve(session, id_, waits.Answer(name="ada", is_verified=True))
    await service.look()
    assert (await run(prefect, flow_run)).is_completed()
    assert ran == ["BESIDE", "BEHIND", "LAST"]


async def event(database: Database, type_: str, project: str = "p1", **data: Any) -> None:
    given = {"type": type_, "timestamp": utc_now().isoformat(), "data": {"project_id": project, **data}}
    await accept(database, [parse_event(given)], source="api", settings=get_settings())


async def test_an_event_is_waited_for_by_type_project_and_conditions(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    paid = {"field": "data.amount", "operator": ">=", "value": 10}
    id_, flow_run = await begun(
        database, prefect, waiting("WAIT_FOR_EVENT", event_type="order.*", conditions=paid), planned(make("AFTER"), 2)
    )

    await workflow(database, project_id="p2")
    await event(database, "order.paid", amount=5)
    await event(database, "invoice.paid", amount=50)
    await event(database, "order.paid", project="p2", amount=50)
    assert (await stored(database, id_)).status == Status.WAITING
    await event(database, "order.paid", amount=11)
    await service.look()

    assert (await run(prefect, flow_run)).is_completed()
    result = (await steps(database, id_))["waits"].result
    assert (result["event"]["type"], result["event"]["data"]["amount"]) == ("order.paid", 11)


async def test_an_event_that_does_not_come_in_time_fails_the_step_and_is_not_waited_for_again(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(
        database, prefect, waiting("WAIT_FOR_EVENT", event_type="order.paid", timeout_after=60), planned(make("X"), 2)
    )
    await is_due(database)
    await service.look()

    assert (await run(prefect, flow_run)).is_failed()
    done = await stored(database, id_)
    assert (done.status, done.error_code, done.failed_step) == (Status.FAILED, "WAIT_TIMEOUT", "waits")
    assert "the event did not come in time" in done.error_message
    assert (await steps(database, id_))["waits"].status == Status.FAILED
    assert ran == []


async def test_an_event_that_does_not_come_may_be_done_without(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    patient = waiting("WAIT_FOR_EVENT", event_type="order.paid", timeout_after=60, on_timeout="continue")
    id_, flow_run = await begun(database, prefect, patient, planned(make("AFTER"), 2))
    await is_due(database)
    await service.look()

    assert (await run(prefect, flow_run)).is_completed()
    assert (await steps(database, id_))["waits"].result == {"timed_out": True}


async def test_who_approves_through_the_api_stands_in_the_result(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("APPROVAL", message="Publish?"), planned(make("AFTER"), 2))
    assert (await only_wait(database)).message == "Publish?"

    async with database.transaction() as session:
        await waits.approve(session, id_, waits.Answer(name="ada", comment="fine", is_verified=True))
    async with database.transaction() as session:
        with pytest.raises(ConflictError, match="waits for no approval"):
            await waits.approve(session, id_, waits.Answer(name="bob"))
    await service.look()

    assert (await run(prefect, flow_run)).is_completed()
    told = {"approved": True, "by": "ada", "comment": "fine", "verified": True}
    assert (await steps(database, id_))["waits"].result == told


async def test_a_refusal_fails_the_execution_with_who_and_why(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("APPROVAL"), planned(make("AFTER"), 2))

    async with database.transaction() as session:
        await waits.approve(session, id_, waits.Answer(approve=False, name="ada", comment="not on Friday"))
    await service.look()

    assert (await run(prefect, flow_run)).is_failed()
    done = await stored(database, id_)
    assert (done.error_code, done.error_message) == ("REJECTED", "APPROVAL: refused by ada: not on Friday")
    assert ran == []


async def test_an_approval_in_prefects_ui_is_recorded_as_unverified(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("APPROVAL"), planned(make("AFTER"), 2))

    await prefect.resume_flow_run(flow_run.id, run_input={"approve": True, "name": "ada", "comment": "fine"})
    late = (await prefect.read_flow_run(flow_run.id)).state
    assert late is not None
    await prefect.set_flow_run_state(flow_run.id, Scheduled(name="Late"), force=True)  # all workers were busy

    assert (await run(prefect, flow_run)).is_completed()
    told = {"approved": True, "by": "ada", "comment": "fine", "verified": False}
    assert (await steps(database, id_))["waits"].result == told
    wait = await only_wait(database)
    assert (wait.status, wait.resolved_by, wait.is_verified) == ("RESOLVED", "ada", False)


async def test_a_refusal_in_prefects_ui_fails_the_execution(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("APPROVAL"), planned(make("AFTER"), 2))

    await prefect.resume_flow_run(flow_run.id, run_input={"approve": False, "name": "bob", "comment": "no"})

    assert (await run(prefect, flow_run)).is_failed()
    assert (await stored(database, id_)).error_message == "APPROVAL: refused by bob: no"
    assert (await only_wait(database)).status == "REJECTED"


async def test_a_run_that_begins_again_without_anybodys_resuming_it_approves_nothing(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    _, flow_run = await begun(database, prefect, waiting("APPROVAL"), planned(make("AFTER"), 2))
    for state in (Running(), Scheduled(message="Handed back")):  # as when its worker stopped just before it had left
        await prefect.set_flow_run_state(flow_run.id, state, force=True)

    assert (await run(prefect, flow_run)).name == "Suspended"
    assert (await only_wait(database)).status == "WAITING"


async def test_of_two_executions_in_one_run_only_the_one_that_was_approved_goes_on(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    of = await workflow(database, waiting("APPROVAL"), planned(make("AFTER"), 2))
    one, other = await execution(database, of), await execution(database, of)
    flow_run = await carry(prefect, one, other)
    assert (await run(prefect, flow_run)).name == "Suspended"

    async with database.transaction() as session:
        await waits.approve(session, one, waits.Answer(name="ada"))
    await service.look()

    assert (await run(prefect, flow_run)).name == "Suspended"
    assert [(await stored(database, id_)).status for id_ in (one, other)] == [Status.COMPLETED, Status.WAITING]


async def test_an_execution_that_is_cancelled_while_it_waits_has_ended_and_so_has_its_run(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("APPROVAL"), planned(make("AFTER"), 2))
    await service.look()

    async with database.transaction() as session:
        await control.cancel(session, id_, get_settings())
    assert (await stored(database, id_)).status == Status.CANCELLED
    assert (await only_wait(database)).status == "CANCELLED"
    assert (await steps(database, id_))["waits"].status == Status.CANCELLED
    await service.look()

    assert (await service.state(flow_run)).is_cancelled()
    await service.in_line()
    async with database.transaction() as session:
        with pytest.raises(ConflictError):
            await waits.approve(session, id_, waits.Answer(name="ada"))


async def test_prefects_cancel_button_ends_an_execution_that_waits(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    id_, flow_run = await begun(database, prefect, waiting("WAIT", seconds=3600))
    await prefect.set_flow_run_state(flow_run.id, Cancelling())
    await service.look()

    assert (await service.state(flow_run)).is_cancelled()
    assert (await stored(database, id_)).status == Status.CANCELLED
    assert (await only_wait(database)).status == "CANCELLED"


async def test_a_wait_beside_a_step_that_fails_ends_with_the_execution(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    wrong_ = make("WRONG", failing(ValidationError("no")))
    of = await workflow(database, waiting("APPROVAL", 1), planned(wrong_, 1), planned(make("AFTER"), 2))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).is_failed()

    assert {name: one.status for name, one in (await steps(database, id_)).items()} == {
        "waits": Status.CANCELLED, "wrong": Status.FAILED, "after": Status.SKIPPED,
    }  # fmt: skip
    assert (await only_wait(database)).status == "CANCELLED"


async def test_what_is_resolved_while_its_execution_still_runs_is_not_missed(
    database: Database, prefect: PrefectClient, service: Service, make: MakeStep
) -> None:
    async def approves(step: Any) -> Any:
        async with database.transaction() as session:
            await waits.approve(session, step.execution_id, waits.Answer(name="ada"))
        return {}

    of = await workflow(
        database,
        waiting("APPROVAL", 1),
        planned(make("BESIDE"), 1),
        planned(make("QUICK", approves), 2, depends_on=["beside"]),
        planned(make("LAST"), 3),
    )
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).name == "Suspended"

    assert (await stored(database, id_)).status == Status.PENDING
    await service.look()
    assert (await run(prefect, flow_run)).is_completed()
    assert ran[-1] == "LAST"


async def test_approving_what_does_not_exist_says_so(database: Database) -> None:
    async with database.transaction() as session:
        with pytest.raises(NotFoundError):
            await waits.approve(session, UUID(int=1), waits.Answer(name="ada"))
