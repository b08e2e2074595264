"""What works on the local installation itself. Each command's work is elsewhere, and imported when it is asked for."""

import asyncio
import os
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from automation.cli.options import parse_since

if TYPE_CHECKING:
    from automation.installation import Installation

db = typer.Typer(no_args_is_help=True, help="The tables of our own database.")
mirror = typer.Typer(no_args_is_help=True, help="Prefect's runs as our tables have them.")


def up() -> None:
    """Start everything in this terminal; Ctrl-C stops it."""
    for one in (signal.SIGINT, signal.SIGTERM):  # nothing runs yet, and the imports take a moment
        signal.signal(one, lambda *_: sys.exit(0))
    from automation.settings import get_settings
    from automation.up import run

    raise typer.Exit(run(get_settings()))


def env() -> None:
    """Print the exports for `eval "$(automation env)"`, after which `prefect` talks to this installation."""
    from automation.installation import exports, prepare
    from automation.settings import get_settings

    print(exports(prepare(get_settings())))


@db.command()
def upgrade() -> None:
    """Bring the tables up to date; safe to repeat."""
    from automation.installation import join
    from automation.logs.process import set_up
    from automation.migrate import upgrade

    installation = join()
    set_up("migrations", installation.settings)
    upgrade(installation.database_url)


@db.command()
def downgrade(revision: Annotated[str, typer.Argument(help="`base` removes every table.")]) -> None:
    """Take the tables back to an earlier revision."""
    from automation.installation import join
    from automation.migrate import downgrade

    downgrade(join().database_url, revision)


def deploy() -> None:
    """Put into Prefect what it must hold: work pool, queues, limits, deployments. Safe to repeat."""
    _become("deployments")


def serve() -> None:
    """Run the API with the dispatcher and the mirror."""
    from automation.installation import join

    installation = join()
    from automation.service import run  # Prefect, which it imports, reads the environment then

    run(installation.settings)


def sites() -> None:
    """Serve the published sites."""
    _become("automation.runtime.sites")


@mirror.command()
def verify(
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs since then: 2026-01-15T10:30Z, or 24h ago.")
    ] = None,
) -> None:
    """Count what in our tables differs from Prefect; exit code 1 if anything does."""
    from automation.installation import join

    after = parse_since(since)
    counts = asyncio.run(_count(join(), after))
    from automation.mirror.verify import wrong

    for name, number in counts.items():
        print(f"{name:<24}{number:>8}")
    raise typer.Exit(1 if wrong(counts) else 0)


async def _count(installation: "Installation", since: datetime | None) -> dict[str, int]:
    import httpx
    from prefect.client.orchestration import get_client

    from automation.database import Database
    from automation.errors import UnavailableError
    from automation.mirror.verify import count

    database = Database(installation.database_url)
    try:
        async with get_client() as client:
            return await count(database, client, since)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"Prefect does not answer at {installation.prefect_api_url} ({error}); is it another port or server? "
            "See AUTOMATION_PREFECT_PORT and PREFECT_API_URL."
        ) from error
    finally:
        await database.close()


def _become(module: str) -> NoReturn:
    """Go on as another program of the installation, which gets our signals and gives our exit code."""
    from automation.installation import join

    join()
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 (our own modules)
