"""`python -m automation.logs.prefect server start …`: Prefect's command, which says in our form what it says."""

import sys

from prefect.cli import app

from automation.logs.process import set_up
from automation.settings import get_settings


def main() -> None:
    """Run `prefect` with the arguments of this command."""
    set_up(f"prefect-{sys.argv[1]}" if sys.argv[1:] else "prefect", get_settings(), prints=True)
    app()


if __name__ == "__main__":
    main()
