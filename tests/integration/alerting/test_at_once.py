"""From a step that fails by the database or the file system, through the engine, to the administrators."""

import pytest
from prefect.client.orchestration import PrefectClient

from automation.database import Database
from automation.errors import DatabaseError, ValidationError
from tests.integration.alerting.conftest import MakeWatch
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep, failing, undo
from tests.integration.rows import execution, planned, workflow

pytestmark = pytest.mark.usefixtures("deployed")

NEVER = {"retry": {"max_retries": 0}}


async def test_a_step_that_the_database_refuses_for_good_is_told_with_its_run_in_prefect(
    watch: MakeWatch, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    seen = watch({"critical-errors": {}})
    broken = planned(make("BROKEN", failing(DatabaseError("no space left")), retries=0), 1, config=NEVER)
    id_ = await execution(database, await workflow(database, broken))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).is_failed()

    await seen.tell()

    assert seen.told == ["CRITICAL: W publish failed at broken: DATABASE_ERROR: no space left"]
    links = (f"/ops/executions/{id_}/", f"/runs/flow-run/{flow_run.id}", "docs/runbook.md#critical-errors")
    for part in (*links, "Project: p1"):
        assert part in seen.bodies[0]
    alert = await seen.alert()
    assert (alert.execution_id, alert.project_id) == (id_, "p1")


async def test_a_rollback_that_fails_is_told(
    watch: MakeWatch, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    seen = watch({"critical-errors": {}, "rollback-failed": {}})
    one = make("ONE", rollback=undo("ONE", OSError("disk is gone")))
    id_ = await execution(database, await workflow(database, one, make("WRONG", failing(ValidationError("WRONG: no")))))
    await run(prefect, await carry(prefect, id_))

    await seen.tell()

    assert len(seen.told) == 1
    assert seen.told[0].startswith("CRITICAL: W publish could not be rolled back at one: ")
    assert (await seen.alert()).rule == "rollback-failed"


async def test_a_failure_that_is_the_workflows_own_is_not_critical(
    watch: MakeWatch, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    seen = watch({"critical-errors": {}})
    of = await workflow(database, make("WRONG", failing(ValidationError("WRONG: no"))))
    await run(prefect, await carry(prefect, await execution(database, of)))
    await seen.look()
    assert await seen.alerts() == []
