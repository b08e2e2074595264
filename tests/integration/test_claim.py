"""Who does the work when several may: the claim, in every order in which it can be asked for."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automation.database import Database
from automation.dispatcher import assign
from automation.engine import claim as claims
from automation.engine import record
from automation.engine.claim import Claim, RunIdentity
from automation.intake import accept, parse_event
from automation.mirror import states
from automation.models import FINAL, Execution, FlowRun, Status, utc_now
from automation.settings import Settings
from tests.integration.rows import every, execution, stored, stored_run, workflow

SETTINGS = Settings()


def prefect_run(key: str | None = None, kind: str = "generate") -> RunIdentity:
    """A flow run that Prefect has just begun; without a key, its trigger made it."""
    return RunIdentity(uuid4(), key, kind, "a run")


async def claim(database: Database, run: RunIdentity, *ids: UUID) -> Claim:
    async with database.transaction() as session:
        return await claims.claim(session, run, ids, SETTINGS)


async def dispatch(database: Database) -> list[RunIdentity]:
    """What the dispatcher makes of what is due."""
    async with database.transaction() as session:
        return [prefect_run(one.idempotency_key, one.kind) for one in await assign.assign(session, 10)]


async def put_down(database: Database, held: Claim) -> None:
    async with database.transaction() as session:
        await claims.put_down(session, held.flow_run_id)


async def publish(database: Database, *before: dict[str, Any]) -> UUID:
    """A publish in Studio, after other events; the execution of its generate workflow."""
    raw = [*before, {"type": "project.published", "data": {"project_id": "p1"}}]
    answers = await accept(database, [parse_event(one) for one in raw], source="api", settings=SETTINGS)
    return answers[-1].executions[0].id


async def grace_is_over(database: Database, id_: UUID) -> None:
    async with database.transaction() as session:
        (await session.get_one(Execution, id_)).due_at = utc_now()


def taken(result: Claim) -> list[UUID]:
    return [item.execution_id for item in result.items]


async def test_when_the_trigger_comes_first_the_dispatcher_has_nothing_to_do(database: Database) -> None:
    id_ = await publish(database)

    assert taken(await claim(database, prefect_run(), id_)) == [id_]

    await grace_is_over(database, id_)
    assert await dispatch(database) == []


async def test_when_the_event_is_lost_the_dispatcher_starts_it_after_the_grace(database: Database) -> None:
    id_ = await publish(database)

    assert await dispatch(database) == []
    await grace_is_over(database, id_)
    [run] = await dispatch(database)

    assert taken(await claim(database, run, id_)) == [id_]


async def test_when_both_start_it_whoever_claims_first_does_it_and_the_other_does_nothing(database: Database) -> None:
    id_ = await publish(database)
    await grace_is_over(database, id_)
    [dispatched] = await dispatch(database)

    assert taken(await claim(database, prefect_run(), id_)) == [id_]
    late = await claim(database, dispatched, id_)

    assert (late.items, late.blocked) == ([], [])
    assert (await stored(database, id_)).attempt == 1


async def test_two_claims_in_the_same_moment_have_one_winner(database: Database) -> None:
    id_ = await publish(database)

    both = await asyncio.gather(*(claim(database, prefect_run(), id_) for _ in range(8)))

    assert sorted(len(one.items) for one in both) == [0] * 7 + [1]
    assert (await stored(database, id_)).dispatch_no == 1


async def test_the_mirror_may_write_the_runs_row_in_the_moment_of_its_claim(database: Database) -> None:
    id_, run = await publish(database), prefect_run()

    async with database.transaction() as session:  # the claim waits for this one's commit
        session.add(FlowRun(prefect_id=run.prefect_id, kind=run.kind, state="RUNNING"))
        await session.flush()
        claiming = asyncio.create_task(claim(database, run, id_))
        await waits_for_a_lock(database)

    assert taken(await claiming) == [id_]
    assert [one.prefect_id for one in await every(database, FlowRun)] == [run.prefect_id]


async def waits_for_a_lock(database: Database) -> None:
    """Until some connection waits for another one."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'automation'")
    async with asyncio.timeout(10):
        while True:
            async with database.transaction() as session:
                if (await session.execute(query)).scalar_one():
                    return


@pytest.mark.parametrize("status", FINAL)
async def test_what_has_ended_is_left_alone(database: Database, status: Status) -> None:
    id_ = await execution(database, await workflow(database), status=status, error_message="as it was")

    result = await claim(database, prefect_run(), id_)

    assert (result.items, result.blocked) == ([], [])
    assert ((await stored(database, id_)).status, (await stored(database, id_)).error_message) == (status, "as it was")


async def test_an_execution_whose_key_is_at_work_is_held_but_not_begun(database: Database) -> None:
    of = await workflow(database)
    first = await execution(database, of, key="k")
    await claim(database, prefect_run(), first)
    second = await execution(database, of, key="k")

    waiting = await claim(database, prefect_run(), second)

    assert (waiting.items, waiting.blocked) == ([], [second])
    held = await stored(database, second)
    assert (held.status, held.flow_run_id, held.attempt) == (Status.PENDING, waiting.flow_run_id, 0)


async def test_two_executions_of_a_key_claimed_in_the_same_moment_do_not_overlap(database: Database) -> None:
    of = await workflow(database)
    runs = [prefect_run() for _ in range(6)]
    ids = [await execution(database, of, key="k", status=Status.RETRYING) for _ in runs]

    results = await asyncio.gather(*(claim(database, run, id_) for run, id_ in zip(runs, ids, strict=True)))

    assert sorted(len(one.items) for one in results) == [0] * 5 + [1]
    assert sum(len(one.blocked) for one in results) == 5


async def test_two_executions_of_a_key_in_one_run_are_done_one_after_the_other(database: Database) -> None:
    of = await workflow(database)
    ids = [await execution(database, of, key="k", status=Status.RETRYING) for _ in range(2)]

    result = await claim(database, prefect_run(), *ids)

    assert (taken(result), result.blocked) == (ids[:1], ids[1:])


async def test_a_publish_waits_for_the_saves_that_came_before_it(database: Database) -> None:
    page = {"type": "page.updated", "data": {"project_id": "p1", "page": {"id": "home"}}}
    id_ = await publish(database, page)
    run = prefect_run()

    assert (await claim(database, run, id_)).blocked == [id_]
    await grace_is_over(database, id_)
    assert id_ not in {one.id for one in await every(database, Execution) if one.flow_run_id is None}

    async with database.transaction() as session:
        for one in await every(database, Execution):
            if one.kind == "auto-save":
                (await session.get_one(Execution, one.id)).status = Status.COMPLETED
    assert taken(await claim(database, run, id_)) == [id_]


async def test_a_publish_does_not_wait_for_saves_of_other_projects_or_of_later(database: Database) -> None:
    id_ = await publish(database)
    later = {"type": "page.updated", "data": {"project_id": "p1", "page": {"id": "home"}}}
    other = {"type": "page.updated", "data": {"project_id": "p2", "page": {"id": "home"}}}
    await accept(database, [parse_event(later), parse_event(other)], source="api", settings=SETTINGS)

    assert taken(await claim(database, prefect_run(), id_)) == [id_]


async def test_a_run_that_comes_again_gets_its_execution_again_as_the_same_try(database: Database) -> None:
    id_, run = await execution(database, await workflow(database)), prefect_run()

    [before] = (await claim(database, run, id_)).items
    [again] = (await claim(database, run, id_)).items

    assert (before.attempt, again.attempt) == (1, 1)
    assert again.dispatch_no == before.dispatch_no + 1


async def test_what_another_living_run_has_begun_is_not_taken(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    await claim(database, prefect_run(), id_)

    assert taken(await claim(database, prefect_run(), id_)) == []


async def test_a_run_that_has_not_begun_hands_its_execution_to_whoever_has(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    [slow] = await dispatch(database)

    quick = await claim(database, prefect_run(), id_)

    assert taken(quick) == [id_]
    assert taken(await claim(database, slow, id_)) == []
    assert (await stored(database, id_)).flow_run_id == quick.flow_run_id


async def test_a_second_start_does_not_shorten_the_wait_before_a_retry(database: Database) -> None:
    id_, run = await execution(database, await workflow(database)), prefect_run()
    held = await claim(database, run, id_)
    async with database.transaction() as session:
        retried = await session.get_one(Execution, id_)
        retried.status, retried.due_at = Status.RETRYING, utc_now() + timedelta(seconds=30)
    await put_down(database, held)

    assert taken(await claim(database, prefect_run(), id_)) == []
    assert taken(await claim(database, run, id_)) == [id_]


async def test_a_run_that_waits_for_a_retry_keeps_a_lease_until_prefect_knows(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    held = await claim(database, prefect_run(), id_)

    await put_down(database, held)

    row = await stored_run(database, held.flow_run_id)
    assert row.claimed_at is None
    assert row.lease_until is not None


async def test_only_the_newest_dispatch_number_writes(database: Database) -> None:
    id_, run = await execution(database, await workflow(database)), prefect_run()
    old = (await claim(database, run, id_)).items
    new = (await claim(database, run, id_)).items

    async def ours(items: Sequence[Any]) -> set[UUID]:
        async with database.transaction() as session:
            return await record.still_ours(session, items)

    assert await ours(old) == set()
    assert await ours(new) == {id_}
    async with database.transaction() as session:
        (await session.get_one(Execution, id_)).status = Status.RETRYING
    assert await ours(new) == set()


async def test_a_lease_is_renewed_until_the_run_is_given_up(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    held = await claim(database, prefect_run(), id_)
    async with database.transaction() as session:
        (await session.get_one(FlowRun, held.flow_run_id)).lease_until = utc_now() - timedelta(seconds=5)

    async def beat() -> list[UUID] | None:
        async with database.transaction() as session:
            return await claims.renew_lease(session, held.flow_run_id, SETTINGS)

    assert await beat() == []
    lease = (await stored_run(database, held.flow_run_id)).lease_until
    assert lease is not None
    assert lease > utc_now()

    async with database.transaction() as session:
        (await session.get_one(Execution, id_)).cancel_requested_at = utc_now()
    assert await beat() == [id_]

    async with database.transaction() as session:
        run = await session.get_one(FlowRun, held.flow_run_id)
        await states.vanished(session, [run.prefect_id] if run.prefect_id else [])
    assert await beat() is None
