"""What a step says or fails with gets into Prefect's and our records without the secrets in it."""

from contextlib import closing

import psycopg2
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.logging.handlers import APILogHandler

from automation.database import Database
from automation.errors import ValidationError
from automation.steps import Result, StepContext
from tests.conftest import Postgres
from tests.integration.flows import carry, run
from tests.integration.making import Body, MakeStep
from tests.integration.prefect_events import told
from tests.integration.rows import execution, stored, workflow

HIDDEN = "hunter2-in-a-run"

pytestmark = pytest.mark.usefixtures("deployed")


async def talks(step: StepContext) -> Result:
    step.log(f"asked with Authorization: Bearer {HIDDEN}")
    return {}


async def fails(step: StepContext) -> Result:
    try:
        raise OSError(f"postgresql://me:{HIDDEN}@db/crm is away")
    except OSError as error:
        raise ValidationError(f"401 for password={HIDDEN}") from error


async def breaks(step: StepContext) -> Result:
    raise RuntimeError(f'{{"api_key": "{HIDDEN}"}}')


def rows_with(url: str, text: str) -> list[str]:
    """The tables of a database in which it stands."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        tables = [table for (table,) in cursor.fetchall()]
        found = []
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" AS one WHERE strpos(one::text, %s) > 0', (text,))
            found += [table] if cursor.fetchone() != (0,) else []
        return found


@pytest.mark.parametrize(("body", "status"), [(fails, "FAILED"), (breaks, "RETRYING")])
async def test_no_secret_of_a_step_gets_into_prefect_or_into_an_error(
    database: Database,
    prefect: PrefectClient,
    postgres: Postgres,
    make: MakeStep,
    body: Body,
    status: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    id_ = await execution(database, await workflow(database, make("TALKS", talks), make("BREAKS", body)))

    await run(prefect, await carry(prefect, id_))
    await APILogHandler.aflush()
    if status == "FAILED":
        await told(prefect, "automation.execution.failed", f"automation.execution.{id_}")

    failed = await stored(database, id_)
    assert (failed.status, "[redacted]" in failed.error_message) == (status, True)
    assert rows_with(postgres.prefect_url, HIDDEN) == []
    # what the step itself has said is kept whole, and shown without its secrets
    assert rows_with(postgres.url, HIDDEN) == ["workflow_execution_logs"]
    assert HIDDEN not in "".join(capfd.readouterr())
