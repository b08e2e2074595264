"""All commands together, and how a command ends."""

import sys
from typing import NoReturn

import typer

from automation.cli import (
    access,
    alerts,
    doctor,
    events,
    executions,
    importing,
    insights,
    installation,
    integrations,
    logs,
    projects,
    queue,
    recovery,
    triggers,
    types,
    worker,
    workflows,
)
from automation.cli.exits import Code, CommandError
from automation.cli.formatting import clean

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_INSTALLATION, _API = "This installation", "The API, here or at AUTOMATION_API_URL"

for command in (
    installation.up, installation.env, installation.deploy, installation.serve, installation.sites, doctor.doctor,
):  # fmt: skip
    app.command(rich_help_panel=_INSTALLATION)(command)
for name, group in {
    "db": installation.db,
    "mirror": installation.mirror,
    "worker": worker.app,
}.items():
    app.add_typer(group, name=name, rich_help_panel=_INSTALLATION)
for command in (executions.active, logs.logs, types.health, types.step_types, types.trigger_types):
    app.command(rich_help_panel=_API)(command)
for name, group in {
    "import": importing.app,
    "workflows": workflows.app,
    "steps": workflows.steps,
    "triggers": triggers.app,
    "executions": executions.app,
    "queue": queue.app,
    "events": events.app,
    "dead-letters": recovery.dead_letters,
    "deliveries": recovery.deliveries,
    "insights": insights.app,
    "alerts": alerts.app,
    "silences": alerts.silences,
    "integrations": integrations.app,
    "projects": projects.app,
    "keys": access.keys,
    "audit": access.audit,
}.items():
    app.add_typer(group, name=name, rich_help_panel=_API)


@app.callback()
def automation() -> None:
    """The workflow engine of a no-code platform, on Prefect."""


def main() -> None:
    """Run a command; what goes wrong is told in one line, and by the exit code (`exits.Code`)."""
    try:
        app()
    except CommandError as error:
        _end(str(error), error.code)
    except Exception as error:
        _end(str(error), _code(error))


def _code(error: Exception) -> Code:
    """The exit code for an error of the library; any other is a fault of ours, and raised."""
    from automation import errors

    meaning: dict[type[errors.AutomationError], Code] = {
        errors.SettingError: Code.USAGE,
        errors.NotFoundError: Code.NOT_FOUND,
        errors.ConflictError: Code.REFUSED,
        errors.RefusedError: Code.REFUSED,
        errors.UnavailableError: Code.UNREACHABLE,
    }
    if not isinstance(error, errors.AutomationError):
        raise error
    return next((code for kind, code in meaning.items() if isinstance(error, kind)), Code.NO)


def _end(message: str, code: Code) -> NoReturn:
    # `automation up` shows the last lines of a log
    print("automation:", "\n".join(clean(line) for line in message.splitlines()), file=sys.stderr)
    sys.exit(code)
