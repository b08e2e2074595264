"""The automations that `automation deploy` puts into Prefect: whose they are, and that they fire."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import ActionTypes
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from pydantic import BaseModel, TypeAdapter

from automation.intake import Accepted, PastEvent
from automation.intake.telling import prefect_events
from automation.models import Json, utc_now
from automation.prefect_events import execution_failed, prefect_event, send
from automation.settings import Settings
from deployments import automations
from deployments.__main__ import ROOT
from deployments.automations import FILE, NOTIFY_BLOCKS, apply_automations
from tests.integration.neighbours import Neighbour

DOCUMENTS = yaml.safe_load(FILE.read_text())["automations"]
NAMES = {one["name"] for one in DOCUMENTS}
_, LOST, OLD = (one["name"] for one in DOCUMENTS)


@pytest.fixture
def operators() -> Iterator[Neighbour]:
    """Where AUTOMATION_NOTIFY_URLS leads to."""
    neighbour = Neighbour()
    yield neighbour
    neighbour.go()


def notifying(operators: Neighbour) -> Settings:
    return Settings(notify_urls=(operators.apprise_url,))


async def told(operators: Neighbour, count: int = 1) -> list[dict[str, Any]]:
    """What the operators were told, once it is so much."""
    async with asyncio.timeout(60):
        while len(operators.requests) < count:
            await asyncio.sleep(0.1)
    return [one.json for one in operators.requests]


@pytest.fixture(autouse=True)
async def _as_deployed(deployed: None, prefect: PrefectClient) -> AsyncIterator[None]:
    """Every test begins with automations that have not fired, and leaves them as a deploy makes them."""
    await _begin_again(prefect)
    yield
    await _begin_again(prefect)


async def _begin_again(prefect: PrefectClient) -> None:
    for one in (await ours(prefect)).values():
        await prefect.delete_automation(one.id)
    await apply_automations(prefect, Settings())


async def ours(prefect: PrefectClient) -> dict[str, Automation]:
    found = [one for name in NAMES for one in await prefect.read_automations_by_name(name)]
    assert len(found) == len({one.name for one in found})
    return {one.name: one for one in found}


async def patch(prefect: PrefectClient, automation: Automation, **values: Any) -> None:
    """Change some of it, as Prefect's UI does."""
    kept = ("name", "description", "enabled", "tags", "trigger", "actions")
    body = {key: value for key, value in automation.model_dump(mode="json").items() if key in kept}
    await prefect.request("PUT", f"/automations/{automation.id}", json=body | values)  # type: ignore[arg-type]


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a later version, in which each automation says more about itself."""
    file = tmp_path / "automations.yaml"
    changed = [one | {"description": "Of the next version."} for one in DOCUMENTS]
    file.write_text(yaml.safe_dump({"automations": changed}))
    monkeypatch.setattr(automations, "FILE", file)


# --- the file -----------------------------------------------------------------------------------------------


def keys_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one["name"])
def test_every_key_is_one_that_prefect_knows(document: Json) -> None:
    assert set(document) <= keys_of(AutomationCore)
    assert set(document["trigger"]) <= keys_of(EventTrigger)
    for action in document["actions"]:
        made = TypeAdapter(ActionTypes).validate_python(action | {"block_document_id": uuid4()})
        assert set(action) <= keys_of(type(made))


def test_each_says_what_it_is_for() -> None:
    assert all(one["description"] for one in DOCUMENTS)


@pytest.mark.parametrize("event", prefect_events(
    Accepted(PastEvent("e-1", "project.published", "p1", {}, utc_now()), duplicate=False, decisions=[
        {"trigger_id": str(uuid4()), "workflow_id": str(uuid4()), "outcome": "fired"}
    ])
), ids=lambda one: one["event"])  # fmt: skip
def test_what_prefect_is_told_of_decisions_starts_no_flow_of_prefect_yaml(event: Json) -> None:
    happened = ReceivedEvent.model_validate(event)
    file = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    triggers = [trigger for one in file["deployments"] for trigger in one.get("triggers", ())]

    assert triggers
    for one in triggers:
        trigger = ServerTrigger.model_validate({"match": one["match"], "expect": one["expect"], "posture": "Reactive",
                                                "threshold": 1, "within": 0})  # fmt: skip
        assert not (trigger.covers(happened) and trigger.expects(happened.event))


# --- applying it --------------------------------------------------------------------------------------------


async def test_all_are_there_after_a_deploy_and_a_second_one_changes_nothing(prefect: PrefectClient) -> None:
    first = await ours(prefect)
    assert set(first) == NAMES

    await apply_automations(prefect, Settings())

    assert await ours(prefect) == first
    assert all(one.enabled for one in first.values())
    assert {action.type for one in first.values() for action in one.actions} == {"do-nothing"}


async def test_what_nobody_edited_follows_the_file(prefect: PrefectClient, next_version: None) -> None:
    first = await ours(prefect)
    await apply_automations(prefect, Settings())

    again = await ours(prefect)
    assert {one.description for one in again.values()} == {"Of the next version."}
    assert {one.id for one in again.values()} == {one.id for one in first.values()}

    await apply_automations(prefect, Settings())
    assert await ours(prefect) == again


async def test_what_an_operator_edited_stays(prefect: PrefectClient, next_version: None) -> None:
    before = (await ours(prefect))[LOST]
    trigger = before.model_dump(mode="json")["trigger"] | {"threshold": 5}
    await patch(prefect, before, trigger=trigger)

    await apply_automations(prefect, Settings())

    after = await ours(prefect)
    assert after[LOST].trigger.threshold == 5  # type: ignore[union-attr]
    assert after[LOST].description == before.description
    assert after[OLD].description == "Of the next version."


async def test_what_an_operator_switched_off_stays_off_and_follows_the_file(
    prefect: PrefectClient, next_version: None
) -> None:
    await prefect.pause_automation((await ours(prefect))[OLD].id)

    await apply_automations(prefect, Settings())

    after = (await ours(prefect))[OLD]
    assert (after.enabled, after.description) == (False, "Of the next version.")


async def test_one_that_was_made_by_hand_under_the_same_name_stays(prefect: PrefectClient, next_version: None) -> None:
    await prefect.delete_automation((await ours(prefect))[OLD].id)
    mine = AutomationCore.model_validate(
        {"name": OLD, "trigger": {"type": "event", "expect": ["by.hand"]}, "actions": [{"type": "do-nothing"}]}
    )
    id_ = await prefect.create_automation(mine)

    await apply_automations(prefect, Settings())

    assert (await ours(prefect))[OLD].id == id_
    assert (await ours(prefect))[OLD].description == ""


async def test_each_notify_url_gets_each_notification_and_is_forgotten_with_its_setting(
    prefect: PrefectClient, operators: Neighbour
) -> None:
    settings = Settings(notify_urls=(*notifying(operators).notify_urls, "json://127.0.0.1:9/"))
    await apply_automations(prefect, settings)

    blocks = await notify_blocks(prefect)
    assert len(blocks) == 2
    for one in (await ours(prefect)).values():
        assert {action.block_document_id for action in one.actions} == blocks  # type: ignore[union-attr]

    await apply_automations(prefect, Settings())

    assert await notify_blocks(prefect) == set()
    assert {action.type for one in (await ours(prefect)).values() for action in one.actions} == {"do-nothing"}


async def notify_blocks(prefect: PrefectClient) -> set[UUID]:
    found = await prefect.read_block_documents_by_type(SlackWebhook.get_block_type_slug())
    return {one.id for one in found if (one.name or "").startswith(NOTIFY_BLOCKS)}


# --- firing -------------------------------------------------------------------------------------------------


def failed(workflow_id: UUID, name: str = "Generate") -> Json:
    return execution_failed(
        execution_id=uuid4(),
        workflow_id=workflow_id,
        workflow_name=name,
        project_id="p1",
        error_code="VALIDATION_ERROR",
        error_message="page '<b>home</b>' is no page",
    )


async def test_operators_are_told_once_when_one_workflow_fails_again_and_again(
    prefect: PrefectClient, operators: Neighbour
) -> None:
    await apply_automations(prefect, notifying(operators))
    bad, other = uuid4(), uuid4()

    await send(prefect, [failed(other, "Other"), failed(other, "Other"), failed(bad), failed(bad)])
    await send(prefect, [failed(bad), failed(bad), failed(bad), failed(bad)])
    await send(prefect, [failed(other, "Other")])  # by now, whatever the first would have told has been told

    first, second = await told(operators, 2)
    assert first["title"] == "Automation: Generate fails again and again"
    assert str(bad) in first["message"]
    assert "VALIDATION_ERROR: page '&lt;b&gt;home" in first["message"].replace("&#39;", "'")
    assert second["title"] == "Automation: Other fails again and again"


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (
            prefect_event("automation.run.lost", f"prefect.flow-run.{uuid4()}", "Auto-save", payload={"name": "X"}),
            "Automation: a run was lost",
        ),
        (
            prefect_event("automation.queue.old", "automation.queue", "Queue", payload={"age_seconds": 99}),
            "Automation: work waits too long",
        ),
    ],
    ids=["lost", "old"],
)
async def test_operators_are_told_at_the_first(
    prefect: PrefectClient, operators: Neighbour, event: Json, title: str
) -> None:
    await apply_automations(prefect, notifying(operators))

    await send(prefect, [event])

    [post] = await told(operators)
    assert post["title"] == title
