"""Which deployments run in a warm child, and what a child needs to have imported for them."""

from functools import lru_cache
from importlib.metadata import entry_points

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse


@lru_cache
def packages() -> frozenset[str]:
    """The packages whose flows are ours: those that define workflows (entry-point group `automation.workflows`)."""
    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group="automation.workflows"))


def modules() -> list[str]:
    """The modules with the flows and step types of this installation."""
    groups = ("automation.workflows", "automation.steps")
    return sorted({entry.module for group in groups for entry in entry_points(group=group)})


def entrypoint(deployment: DeploymentResponse, run: FlowRun, known: frozenset[str]) -> str | None:
    """The import path of the run's flow, or None when it needs a process of its own.

    It does when its code has to be fetched first, when it is no module of ours, or when deployment or run ask
    for an environment, a folder or a command.
    """
    path = deployment.entrypoint or ""
    own_process = deployment.pull_steps or deployment.job_variables or run.job_variables
    if own_process or ":" in path or path.partition(".")[0] not in known:
        return None
    return path
