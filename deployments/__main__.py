"""`python -m deployments` (or `automation deploy`): Prefect and our tables hold what this version needs.

Safe to repeat: what exists is updated, schedules and automations that people made at run time stay.
"""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from sqlalchemy import func, select

from automation.database import Database
from automation.errors import AutomationError, SettingError, UnavailableError
from automation.logs.process import set_up
from automation.maintenance import save_database_block
from automation.models.channels import SCHEDULES_CHANNEL
from automation.settings import get_settings
from deployments.automations import apply_automations
from deployments.platform import apply_platform_workflows
from deployments.pool import apply_limits, apply_pool
from deployments.schedules import name_schedules

log = logging.getLogger("deployments")

ROOT = Path(__file__).resolve().parent.parent


async def apply() -> None:
    """Pool, queues, limits, automations, block, platform workflows; then every deployment of `prefect.yaml`."""
    settings = get_settings()
    if settings.database_url is None:
        raise SettingError('AUTOMATION_DATABASE_URL is not set; run this as: eval "$(automation env)"')
    async with get_client() as client:
        await apply_pool(client, settings)
        await apply_limits(client)
        await name_schedules(client)
        await apply_automations(client, settings)
    await save_database_block(settings.database_url)
    database = Database(settings.database_url, pool_size=1)
    try:
        await apply_platform_workflows(database)
        await asyncio.to_thread(_prefect_deploy)
        async with database.transaction() as session:  # deployments of single workflows follow that of their kind
            await session.execute(select(func.pg_notify(SCHEDULES_CHANNEL, "")))
    finally:
        await database.close()
    log.info("Prefect holds what this version needs: work pool, queues, limits, automations and deployments.")


def _prefect_deploy() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file"]
    done = subprocess.run(  # noqa: S603 (our own interpreter and file)
        [*command, str(ROOT / "prefect.yaml")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnavailableError(f"`prefect deploy` failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    try:
        set_up("deployments", get_settings())
        asyncio.run(apply())
    except AutomationError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
