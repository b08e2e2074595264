"""Commands in processes of their own, before a real API."""

import subprocess
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Awaitable[Ran]]


def failed_in_one_line(ran: Ran, code: int) -> str:
    """What a command says that ended with this code and said nothing else."""
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    assert ran.stderr.startswith("automation: ")
    assert ran.stderr.count("\n") == 1
    return ran.stderr


def letter(workflow: UUID) -> dict[str, Any]:
    return {"workflow_id": workflow, "project_id": "p1", "kind": "custom", "error_code": "X", "error_message": "\x1b[m"}
