"""What a platform does with Automation, from outside: only HTTP, files and commands that are promised."""

from pathlib import Path
from uuid import uuid4

import httpx

from tests.acceptance.conftest import ENDED, Installation, until
from tests.acceptance.studio import KINDS, created, event, hostile, page, text
from tests.unit.runtime.reading import active_content


def published(installation: Installation, project: str) -> None:
    [answer] = installation.send(event("project.published", project))
    done = installation.ended(answer["executions"][0]["id"])
    assert done["status"] == "COMPLETED", done


def test_hostile_text_in_every_field_of_every_component_is_published_and_does_nothing(
    installation: Installation,
) -> None:
    installation.send(created("hostile"), *(page("hostile", kind.lower(), hostile(kind)) for kind in KINDS))
    published(installation, "hostile")

    assert {one["status"] for one in installation.all_ended(project_id="hostile")} == {"COMPLETED"}
    for kind in KINDS:
        answer = installation.site("hostile", kind.lower())
        assert answer.status_code == 200, kind
        assert active_content(answer.text) == [], kind


def test_a_site_is_published_changed_published_again_rolled_back_and_promoted(installation: Installation) -> None:
    shop = "shop"
    installation.send(created(shop), page(shop, "home", text("the first text"), route="/"))
    published(installation, shop)
    assert "the first text" in installation.site(shop).text

    installation.send(page(shop, "home", text("the second text"), version=2, route="/"))
    published(installation, shop)
    assert "the second text" in installation.site(shop).text

    back = installation.execute(shop, "publish", action="rollback")
    assert back["status"] == "COMPLETED", back
    assert "the first text" in installation.site(shop).text

    promoted = installation.execute(shop, "publish", action="promote", environment="staging")
    assert promoted["status"] == "COMPLETED", promoted
    staging = installation.home / "runtime" / shop / "environments" / "staging"
    assert "the second text" in (staging / "index.html").read_text()
    assert "the first text" in installation.site(shop).text

    wrong = installation.execute(shop, "publish", action="promote", version="no-such-release")
    assert wrong["status"] == "FAILED"
    assert "no-such-release" in wrong["error_message"]


def test_events_that_come_twice_and_out_of_order_leave_the_newest_page(installation: Installation) -> None:
    versions = [page("order", "home", text(f"version {n}"), version=n, route="/", id=f"order-{n}") for n in (3, 1, 2)]
    first = [installation.send(one)[0] for one in versions]
    again = [installation.send(one)[0] for one in versions]
    installation.send(created("order", timestamp="2026-01-01T00:00:00Z"))

    assert [one["duplicate"] for one in (*first, *again)] == [False] * 3 + [True] * 3
    assert [made(one) for one in first] == [made(one) for one in again]
    installation.all_ended(project_id="order")
    saved = installation.home / "runtime" / "order" / "pages" / "home.json"
    assert "version 3" in saved.read_text()
    name = installation.studio.get("workflows/", params={"project_id": "order", "kind": "auto-save"}).json()
    assert name["results"][0]["name"] == "Auto-save Name of order"


def test_a_wrong_document_fails_with_its_reason_and_leaves_the_page_as_it_was(installation: Installation) -> None:
    installation.send(page("wrong", "home", text("good"), route="/"))
    installation.all_ended(project_id="wrong")
    file = installation.home / "runtime" / "wrong" / "pages" / "home.json"
    before = file.read_bytes()

    [answer] = installation.send(page("wrong", "home", {"id": "x", "type": "Nonsense"}, version=2, route="/"))
    done = installation.ended(answer["executions"][0]["id"])

    assert done["status"] == "FAILED"
    assert "Nonsense" in done["error_message"]
    assert file.read_bytes() == before


def test_a_deleted_page_is_gone_after_the_next_publish_and_its_file_is_kept(installation: Installation) -> None:
    installation.send(page("gone", "home", text("stays"), route="/"), page("gone", "old", text("goes")))
    published(installation, "gone")
    assert installation.site("gone", "old").status_code == 200

    installation.send(event("page.deleted", "gone", page={"id": "old", "version": 2}))
    published(installation, "gone")

    assert installation.site("gone").status_code == 200
    assert installation.site("gone", "old").status_code == 404
    kept = list((installation.home / "runtime" / "gone" / "pages").rglob("old*"))
    assert any("goes" in one.read_text() for one in kept)


def test_an_event_that_somebody_emits_into_prefect_is_taken_once(installation: Installation) -> None:
    emitted = {
        "id": str(uuid4()),
        "occurred": "2026-01-15T10:30:00Z",
        "event": "studio.page.updated",
        "resource": {"prefect.resource.id": "somebody.else"},
        "payload": page("elsewhere", "home", text("by another door"), route="/")["data"],
    }
    for _ in range(2):
        assert installation.prefect.post("events", json=[emitted]).status_code == 204

    until(lambda: len(installation.executions(project_id="elsewhere")) == 1, 40)
    [done] = installation.all_ended(project_id="elsewhere")

    assert (done["status"], done["event_count"]) == ("COMPLETED", 1)
    assert "by another door" in (installation.home / "runtime/elsewhere/pages/home.json").read_text()


def test_a_publish_is_started_by_prefects_trigger(installation: Installation) -> None:
    installation.send(page("rare", "home", text("x"), route="/"))
    installation.all_ended(project_id="rare")
    [answer] = installation.send(event("project.published", "rare"))
    done = installation.ended(answer["executions"][0]["id"])

    run = installation.prefect.get(f"flow_runs/{done['flow_run']['id']}").json()
    assert run["created_by"]["type"] == "AUTOMATION"


def test_ids_with_path_tricks_and_strangers_are_refused(installation: Installation) -> None:
    tricks = installation.studio.post("events/", json=page("../../etc", "home"))
    assert tricks.status_code == 422
    assert httpx.get(str(installation.studio.base_url) + "executions/").status_code == 401
    assert not (Path(installation.home).parent / "etc").exists()


def test_the_states_that_prefect_knows_are_those_of_the_executions(installation: Installation) -> None:
    executions = {one["id"]: one for one in installation.all_ended()}
    carried = 0
    for run in prefect_runs(installation):
        ids = [tag.removeprefix("execution:") for tag in run["tags"] if tag.startswith("execution:")]
        for one in (executions[id_] for id_ in ids):
            detail = installation.execution(one["id"])
            if detail["flow_run"] and detail["flow_run"]["id"] == run["id"]:
                carried += 1
                assert run["state_type"] == one["status"]
    assert carried
    assert {one["status"] for one in executions.values()} <= ENDED


def made(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["id"] for one in answer["executions"]]


def prefect_runs(installation: Installation) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    while True:
        body = {"limit": 200, "offset": len(found), "flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}}
        page_ = installation.prefect.post("flow_runs/filter", json=body).json()
        found += page_
        if len(page_) < 200:
            return found
