"""Somebody is woken, from outside: what a pager gets, and what the API and the command say."""

import json
from typing import Any

from tests.acceptance.conftest import Installation, until
from tests.acceptance.studio import created, event, page, text

Json = dict[str, Any]


def alerts(installation: Installation, **filters: str) -> list[Json]:
    return list(installation.studio.get("alerts/", params=filters).json()["results"])


def told(installation: Installation, of: str) -> list[str]:
    """The titles of what the pager got about a project."""
    return [one.json["title"] for one in installation.pager.requests if f"Project: {of}" in one.json["message"]]


def test_a_workflow_that_fails_three_times_in_a_row_wakes_somebody_once_and_its_success_is_told_too(
    installation: Installation,
) -> None:
    project = "alarm"
    installation.send(created(project), page(project, "home", text("hello"), route="/"))
    [answer] = installation.send(event("project.published", project))
    assert installation.ended(answer["executions"][0]["id"])["status"] == "COMPLETED"
    mine = {"rule": "repeated-failures", "project_id": project}

    failed = [installation.execute(project, "publish", action="promote", version="no-such-one") for _ in range(3)]
    assert {one["status"] for one in failed} == {"FAILED"}
    until(lambda: told(installation, project), 40, lambda: alerts(installation))

    [alert] = alerts(installation, **mine)
    assert (alert["state"], alert["count"], alert["execution_id"]) == ("FIRING", 3, failed[-1]["id"])
    [title] = told(installation, project)
    assert title.startswith("WARNING: ")
    assert "failed 3 times in a row" in title
    [body] = [one.json["message"] for one in installation.pager.requests if one.json["title"] == title]
    for link in (alert["links"]["execution"], alert["links"]["prefect_run"], alert["links"]["runbook"]):
        assert link in body

    said = installation.run("alerts", "acknowledge", alert["id"], "--comment", "On it.", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["comment"] == "On it."

    assert installation.execute(project, "publish", action="promote", environment="staging")["status"] == "COMPLETED"
    until(lambda: alerts(installation, **mine, state="RESOLVED"), 40, lambda: alerts(installation))
    until(lambda: len(told(installation, project)) == 2, 20, lambda: told(installation, project))
    assert told(installation, project)[1].startswith("Over: ")


def test_an_installation_at_work_has_no_alert_about_itself(installation: Installation) -> None:
    """Neither its worker, nor its mirror, nor its queue is missed by anybody."""
    about_itself = {"no-worker", "mirror-lag", "queue-old", "connections-used-up", "database-away"}
    assert not about_itself & {one["rule"] for one in alerts(installation, state="FIRING")}
