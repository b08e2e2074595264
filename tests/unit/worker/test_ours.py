"""Which runs go to a warm process."""

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from automation.worker import ours


def choose(run: dict[str, Any] | None = None, **deployment: Any) -> str | None:
    flow_id = uuid4()
    options = {"entrypoint": "flows.auto_save.auto_save"} | deployment
    return ours.entrypoint(
        DeploymentResponse(name="d", flow_id=flow_id, **options), FlowRun(flow_id=flow_id, **run or {}), ours.packages()
    )


def test_a_flow_of_this_installation_runs_warm() -> None:
    assert choose() == "flows.auto_save.auto_save"
    assert choose(pull_steps=[], job_variables={}) == "flows.auto_save.auto_save"


@pytest.mark.parametrize(
    "deployment",
    [
        {"entrypoint": None},
        {"entrypoint": "flows/auto_save.py:auto_save"},
        {"entrypoint": "somebody.elses.flow"},
        {"entrypoint": "flowsy.auto_save"},
        {"pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/"}}]},
        {"job_variables": {"env": {"A": "1"}}},
        {"run": {"job_variables": {"working_dir": "/"}}},
    ],
)
def test_a_flow_that_has_to_be_fetched_or_wants_its_own_environment_does_not(deployment: dict[str, Any]) -> None:
    assert choose(**deployment) is None


def test_the_forkserver_imports_every_workflow_and_step_type() -> None:
    assert {"flows.auto_save", "flows.generate", "tasks.pages", "tasks.runtime"} <= set(ours.modules())
