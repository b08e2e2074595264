"""Every trigger of the spec from outside, with right and wrong input; what waits outlives a killed service."""

import base64
import hashlib
import hmac
import json
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg2
import pytest

from tests.acceptance.conftest import Installation, Json, until
from tests.acceptance.studio import event, page, text
from tests.acceptance.test_kills import PARTS, deliver

ECHO = {"step_type": "TRANSFORM", "config": {"output": {"type": "{{ trigger.type }}", "data": "{{ trigger.data }}"}}}

AUTO_SAVE = """{
  "name": "Auto-save Project",
  "trigger_type": "ON_PAGE_CHANGE",
  "steps": [
    {"step_type": "VALIDATE_PAGE", "config": {"validate_json": true, "check_components": true}},
    {"step_type": "SAVE_TO_RUNTIME", "config": {"update_files": true, "backup_previous": true}},
    {"step_type": "LOG_ACTIVITY", "config": {"track_changes": true, "save_metrics": true}}
  ]
}"""
GENERATE = """{
  "name": "Generate Application",
  "trigger_type": "ON_PUBLISH",
  "steps": [
    {"step_type": "COMPILE_PAGES", "config": {"minify": true, "optimize_images": true}},
    {"step_type": "GENERATE_STRUCTURE", "config": {"create_routes": true, "generate_models": false}},
    {"step_type": "DEPLOY_TO_RUNTIME", "config": {"environment": "production", "rollback_enabled": true}},
    {"step_type": "NOTIFY_USER", "config": {"send_email": true, "update_status": true}}
  ]
}"""
CLEANUP = """{
  "name": "Cleanup Old Data",
  "trigger_type": "SCHEDULED",
  "schedule": "0 2 * * *",
  "steps": [
    {"step_type": "CLEAN_OLD_EXECUTIONS", "config": {"older_than_days": 30}},
    {"step_type": "CLEAN_TEMP_FILES", "config": {"older_than_hours": 24}},
    {"step_type": "OPTIMIZE_DATABASE", "config": {"vacuum": true, "analyze": true}}
  ]
}"""


def make(installation: Installation, project: str, *triggers: Json, name: str = "echo") -> Json:
    """A workflow that repeats what fired it."""
    body = {"name": name, "project_id": project, "steps": [ECHO], "triggers": list(triggers)}
    answer = installation.studio.post("workflows/", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def trigger(type_: str, event_type: str = "", conditions: Json | None = None, **config: Any) -> Json:
    return {"trigger_type": type_, "event_type": event_type, "conditions": conditions or {}, "config": config}


def told(installation: Installation, event_id: str, workflow: Json) -> Json:
    """What the only trigger of a workflow made of an event."""
    [trigger_id] = [one["id"] for one in workflow["triggers"]]
    answer = installation.studio.get(f"events/{event_id}/").json()
    [found] = [one for one in answer["triggers"] if one["trigger_id"] == trigger_id]
    return dict(found)


def runs(installation: Installation, workflow: Json, number: int = 1) -> list[Json]:
    """The executions of a workflow, oldest first, when there are so many and all have ended."""
    wanted = {"workflow_id": workflow["id"]}
    until(lambda: len(installation.executions(**wanted)) >= number, 60, lambda: installation.executions(**wanted))
    ended = installation.all_ended(60, **wanted)
    assert len(ended) == number, ended
    return [installation.execution(one["id"]) for one in reversed(ended)]


def data_of(execution: Json) -> Json:
    """The event's data as the workflow's step saw it."""
    assert execution["status"] == "COMPLETED", execution
    return dict(execution["result"]["steps"]["transform"]["data"])


# --- the documents of the spec ------------------------------------------------------------------------------


def test_the_three_documents_of_the_spec_are_posted_as_they_stand_and_run(installation: Installation) -> None:
    auto_save, generate = (json.loads(one) | {"project_id": "spec"} for one in (AUTO_SAVE, GENERATE))
    answers = [installation.studio.post("workflows/", json=one) for one in (auto_save, generate, json.loads(CLEANUP))]
    assert [one.status_code for one in answers] == [201, 201, 201], [one.text for one in answers]
    saves, builds, cleans = (one.json() for one in answers)
    assert [(one["trigger_type"], one["config"]) for one in cleans["triggers"]] == [
        ("SCHEDULED", {"cron": "0 2 * * *"})
    ]
    assert [step["order"] for step in cleans["steps"]] == [1, 2, 3]

    installation.send(page("spec", "home", text("Bonjour")))
    [saved] = runs(installation, saves)
    installation.send(event("project.published", "spec"))
    cleaned = installation.studio.post(f"workflows/{cleans['id']}/execute/")

    assert cleaned.status_code == 202
    [built] = runs(installation, builds)
    [cleaned_up] = runs(installation, cleans)
    assert [one["status"] for one in (saved, built, cleaned_up)] == ["COMPLETED"] * 3
    assert "Bonjour" in installation.site("spec", "home").text


# --- events -------------------------------------------------------------------------------------------------

STUDIO = {
    "ON_PROJECT_CREATE": ("project.created",),
    "ON_PROJECT_UPDATE": ("project.updated",),
    "ON_PAGE_CREATE": ("page.created",),
    "ON_PAGE_UPDATE": ("page.updated",),
    "ON_PAGE_CHANGE": ("page.created", "page.updated"),
    "ON_COMPONENT_ADD": ("component.added",),
    "ON_PUBLISH": ("project.published",),
}


def test_each_event_of_studio_fires_the_triggers_that_are_named_after_it_and_no_other(
    installation: Installation,
) -> None:
    """A workflow fires once for an event; which of its triggers did tells whom the event concerns."""
    workflow = make(installation, "rows", *({"trigger_type": one} for one in STUDIO))
    types = {one["id"]: one["trigger_type"] for one in workflow["triggers"]}
    sent = {type_: event(type_, "rows", page={"id": "home", "config": {}}) for type_ in sum(STUDIO.values(), ())}
    answers = installation.send(*sent.values(), event("page.deleted", "rows", page={"id": "home"}))

    for type_, answer in zip((*sent, "page.deleted"), answers, strict=True):
        listed = installation.studio.get(f"events/{answer['id']}/").json()["triggers"]
        heard = {types[one["trigger_id"]] for one in listed if one["trigger_id"] in types and heard_it(one)}
        assert heard == {name for name, events in STUDIO.items() if type_ in events}
    assert {data_of(one)["project_id"] for one in runs(installation, workflow, len(sent))} == {"rows"}


def heard_it(told: Json) -> bool:
    return told["outcome"] in ("fired", "same_workflow")


def test_an_event_fires_by_its_prefix_when_the_conditions_hold_and_else_tells_why_not(
    installation: Installation,
) -> None:
    conditions = {
        "all": [
            {"field": "data.amount", "operator": ">", "value": 100},
            {
                "any": [
                    {"field": "data.country", "operator": "in", "value": ["FR"]},
                    {"field": "type", "operator": "ends_with", "value": ".vip"},
                ]
            },
        ]
    }
    workflow = make(installation, "orders", trigger("EVENT", "order.*", conditions))

    installation.send(
        event("order.paid", "orders", id="right", amount=150, country="FR"),
        event("order.vip", "orders", id="right-too", amount=150),
        event("order.paid", "orders", id="cheap", amount=50, country="FR"),
        event("order.paid", "orders", id="elsewhere", amount=150, country="US"),
        event("orders.paid", "orders", id="other-type", amount=150, country="FR"),
        event("order.paid", "other-project", id="other-project", amount=150, country="FR"),
    )

    assert [told(installation, one, workflow)["outcome"] for one in ("right", "right-too")] == ["fired", "fired"]
    reasons = {one: told(installation, one, workflow)["reason"] for one in ("cheap", "elsewhere", "other-type")}
    assert reasons == {
        "cheap": "all.0: data.amount > 100 does not hold: it is 50",
        "elsewhere": 'all.1.any.0: data.country in ["FR"] does not hold: it is "US"',
        "other-type": "EVENT hears order.*, not orders.paid",
    }
    unknown = installation.studio.get("events/other-project/").json()["triggers"]
    assert not [one for one in unknown if one["workflow_id"] == workflow["id"]]
    assert [data_of(one)["amount"] for one in runs(installation, workflow, 2)] == [150, 150]


WRONG = [
    (trigger("ON_PUBLISH", colour="red"), "config.colour"),
    (trigger("ON_PUBLISH", "page.updated"), "event_type"),
    (trigger("EVENT"), "event_type"),
    (trigger("EVENT", "order*"), "event_type"),
    (trigger("EVENT", "order.paid", {"field": "type", "operator": "matches", "value": "(?=x)"}), "conditions.value"),
    (trigger("EVENT", "order.paid", {"field": "type", "operator": "~", "value": "x"}), "conditions.operator"),
    (trigger("SCHEDULED", cron="61 * * * *"), "config.cron"),
    (trigger("SCHEDULED", cron="0 2 * * *", timezone="Mars/Base"), "config.timezone"),
    (trigger("DELAYED", "order.paid"), "config.delay_seconds"),
    (trigger("DELAYED", "order.paid", delay_seconds="5"), "config.delay_seconds"),
    (trigger("TIMEOUT", after_seconds=0), "config.after_seconds"),
    (trigger("TIMEOUT", after_seconds=5, key="{{ data. }}"), "config.key"),
    (trigger("WEBHOOK", scheme="gitlab"), "config.scheme"),
    (trigger("WEBHOOK") | {"secret": "short"}, "secret"),
    (trigger("API_CALL", input_schema={"type": "text"}), "config.input_schema.type"),
    (trigger("FILE_CHANGE", root="/etc"), "config.root"),
    (trigger("EVENT", "order.paid", throttle={"limit": 0, "per_seconds": 1}), "config.throttle.limit"),
    (trigger("EVENT", "order.paid", dedupe_key="data..id"), "config.dedupe_key"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=[f"{one['trigger_type']}-{field}" for one, field in WRONG])
def test_a_trigger_that_could_not_work_is_refused_when_it_is_saved(
    installation: Installation, wrong: Json, field: str
) -> None:
    body = {"name": "wrong", "project_id": "refusals", "steps": [ECHO], "triggers": [wrong]}

    answer = installation.studio.post("workflows/", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, f"triggers.0.{field}")
    assert installation.executions(project_id="refusals") == []


# --- what waits, while the service is killed ----------------------------------------------------------------


def test_what_waits_fires_once_although_the_service_is_killed(installation: Installation) -> None:
    delayed = make(
        installation,
        "killed",
        trigger("DELAYED", "cart.left", delay_seconds=2, cancel_on="order.paid", key="data.cart"),
    )
    silent = make(installation, "killed", trigger("TIMEOUT", "beat", after_seconds=2, key="user"))
    debounced = make(
        installation, "killed", trigger("EVENT", "typed", debounce_seconds=2, max_wait_seconds=60, key="data.doc")
    )
    sent = [
        event("cart.left", "killed", id="cart-1", cart="1"),
        event("cart.left", "killed", id="cart-2", cart="2"),
        event("order.paid", "killed", id="paid-1", cart="1"),
        *(event("beat", "killed", id=f"beat-{n}", n=n) for n in (1, 2)),
        *(event("typed", "killed", id=f"typed-{n}", doc="d", n=n) for n in (1, 2)),
    ]
    installation.send(*sent)

    installation.kill(*PARTS["service"])
    for one in sent:  # as Studio does that had no answer
        deliver(installation, one)

    assert [data_of(one)["cart"] for one in runs(installation, delayed)] == ["2"]
    assert data_of(runs(installation, silent)[-1])["n"] == 2
    assert data_of(runs(installation, debounced)[-1])["n"] == 2
    called_off = told(installation, "cart-1", delayed)
    assert (called_off["outcome"], called_off["reason"]) == ("called_off", "called off by event paid-1")
    assert told(installation, "beat-1", silent)["outcome"] == "superseded"
    assert told(installation, "beat-2", silent)["fired"]
    fired = told(installation, "typed-2", debounced)
    assert (fired["outcome"], fired["execution_id"]) == ("fired", runs(installation, debounced)[-1]["id"])


def test_slots_that_were_missed_while_the_service_was_down_run_as_catch_up_says(installation: Installation) -> None:
    slot = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    cron = f"{slot.minute} {slot.hour} * * *"
    policies = ("skip", "latest", "all")
    workflows = {one: make(installation, "missed", trigger("SCHEDULED", cron=cron, catch_up=one)) for one in policies}

    installation.kill(*PARTS["service"])
    database = psycopg2.connect(f"postgresql://postgres@/automation?host={installation.home}/postgres")
    with closing(database), database, database.cursor() as cursor:
        before = "UPDATE triggers SET last_slot = %s WHERE project_id = 'missed'"  # as if it was down for days
        cursor.execute(before, (slot - timedelta(days=2, hours=1),))

    last, former = slot.isoformat(), {(slot - timedelta(days=ago)).isoformat() for ago in (1, 2)}
    found = {name: runs(installation, one, 3) for name, one in workflows.items()}
    assert slots_of(found["skip"], "SKIPPED") == former | {last}
    assert (slots_of(found["latest"], "SKIPPED"), slots_of(found["latest"], "")) == (former, {last})
    assert slots_of(found["all"], "") == former | {last}
    reason = found["skip"][-1]["error_message"]
    assert "its grace is 300 s" in reason


def slots_of(executions: list[Json], error_code: str) -> set[str]:
    return {one["trigger"]["data"]["scheduled_for"] for one in executions if one["error_code"] == error_code}


def test_a_schedule_is_one_of_a_deployment_in_prefect_and_goes_with_its_trigger(installation: Installation) -> None:
    workflow = make(installation, "cron", trigger("SCHEDULED", cron="0 9 * * 1-5", timezone="Europe/Paris"))
    trigger_id = workflow["triggers"][0]["id"]

    def held() -> list[tuple[str, str, bool]]:
        chosen = {"deployments": {"name": {"any_": [workflow["id"]]}}}
        found = installation.prefect.post("deployments/filter", json=chosen).json()
        return [(one["slug"], one["schedule"]["cron"], one["active"]) for each in found for one in each["schedules"]]

    until(lambda: held() == [(trigger_id, "0 9 * * 1-5", True)], told=held)
    changed = {"config": {"cron": "30 6 * * *"}, "is_active": False}
    assert installation.studio.patch(f"triggers/{trigger_id}/", json=changed).status_code == 200
    until(lambda: held() == [(trigger_id, "30 6 * * *", False)], told=held)
    assert installation.studio.delete(f"triggers/{trigger_id}/").status_code == 204
    until(lambda: held() == [], told=held)


# --- doors of triggers' own ---------------------------------------------------------------------------------


def standard(secret: str, body: bytes, id_: str, at: float) -> dict[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{id_}.{at:.0f}.".encode() + body, "sha256")).decode()
    return {"webhook-id": id_, "webhook-timestamp": f"{at:.0f}", "webhook-signature": f"v1,{signature}"}


def github(secret: str, body: bytes, id_: str, at: float) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Delivery": id_, "X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"}


@pytest.mark.parametrize("sign", [standard, github])
def test_a_webhook_takes_each_delivery_once_and_none_that_is_not_signed(installation: Installation, sign: Any) -> None:
    workflow = make(installation, "hooks", trigger("WEBHOOK", scheme=sign.__name__))
    [hook] = workflow["triggers"]
    address = str(installation.studio.base_url.join(hook["url"]))

    def send(body: bytes, id_: str, secret: str = hook["secret"], at: float | None = None) -> httpx.Response:
        return httpx.post(address, content=body, headers=sign(secret, body, id_, at or time.time()))

    first, again = send(b'{"n": 1}', "delivery-1"), send(b'{"n": 1}', "delivery-1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["events"][0]["executions"][0]["id"] == first.json()["events"][0]["executions"][0]["id"]
    assert send(b'{"n": 2}', "delivery-2", secret="whsec_" + "A" * 44).status_code == 401
    assert httpx.post(address, content=b"{}").status_code == 401
    if sign is standard:
        assert send(b'{"n": 2}', "delivery-2", at=time.time() - 301).status_code == 401

    rotated = installation.studio.post(f"triggers/{hook['id']}/secret/")
    assert rotated.status_code == 201
    assert send(b'{"n": 3}', "delivery-3", secret=rotated.json()["secret"]).status_code == 202
    assert send(b'{"n": 4}', "delivery-4").status_code == 202  # the one before, for a while

    assert [data_of(one)["n"] for one in runs(installation, workflow, 3)] == [1, 3, 4]
    assert "secret" not in installation.studio.get(f"triggers/{hook['id']}/").json()
    installation.studio.patch(f"triggers/{hook['id']}/", json={"is_active": False})
    assert send(b'{"n": 5}', "delivery-5").status_code == 404


def test_a_call_needs_an_input_that_suits_and_runs_once_under_one_key(installation: Installation) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}
    workflow = make(installation, "calls", trigger("API_CALL", input_schema=schema))

    def call(given: Any, **headers: str) -> httpx.Response:
        return installation.studio.post(f"workflows/{workflow['id']}/execute/", json={"input": given}, headers=headers)

    wrong: list[Any] = [{"n": 0}, {}, [], {"n": "1"}]
    refused = [call(one) for one in wrong]
    first, again = call({"n": 1}, **{"Idempotency-Key": "k"}), call({"n": 1}, **{"Idempotency-Key": "k"})

    assert [one.status_code for one in refused] == [422] * 4
    assert [one.json()["field"] for one in refused] == ["input.n", "input.n", "input", "input.n"]
    assert (first.status_code, again.status_code) == (202, 202)
    [ran] = runs(installation, workflow)
    assert ran["id"] == first.json()["id"] == again.json()["id"]
    assert data_of(ran)["n"] == 1


SETTLE = 0.5


def test_a_burst_of_files_fires_once_and_nothing_outside_the_root_does(installation: Installation) -> None:
    inbox, outside = installation.watched / "in", installation.watched / "out"
    for folder in (inbox, outside):
        folder.mkdir(parents=True)
    (inbox / "way-out").symlink_to(outside)
    (inbox / "passwd.csv").symlink_to("/etc/passwd")
    workflow = make(
        installation,
        "files",
        trigger("FILE_CHANGE", root=str(inbox), glob="**/*.csv", on="created", settle_seconds=SETTLE),
    )

    probes: list[float] = []

    def is_watched() -> bool:
        """What changes before the service has looked for the first time is not seen; a probe too many is a burst."""
        if not probes or time.monotonic() > probes[-1] + 3 * SETTLE:
            probes.append(time.monotonic())
            (inbox / f"probe-{len(probes)}.csv").touch()
        return bool(installation.executions(workflow_id=workflow["id"]))

    def bursts() -> list[list[Json]]:
        """What each execution was told, the probes left out."""
        found = installation.executions(workflow_id=workflow["id"])
        told = (installation.execution(one["id"])["trigger"]["data"]["changes"] for one in found)
        mine = ([change for change in changes if not change["path"].startswith("probe-")] for changes in told)
        return [changes for changes in mine if changes]

    until(is_watched)
    for number in range(20):
        (outside / f"{number}.csv").write_text("1")
        (inbox / f"{number}.csv").write_text("1")
        (inbox / f"{number}.txt").write_text("1")
    until(bursts)

    [burst] = bursts()
    assert sorted(one["path"] for one in burst) == sorted(f"{number}.csv" for number in range(20))
    assert {one["change"] for one in burst} == {"created"}


# --- trying -------------------------------------------------------------------------------------------------


def test_a_trial_tells_what_would_happen_and_a_replay_makes_it_happen_once(installation: Installation) -> None:
    since = datetime.now(UTC).isoformat()
    amount = {"field": "data.amount", "operator": ">=", "value": 10}
    workflow = make(installation, "trials", trigger("EVENT", "order.paid", amount, dedupe_key="data.order"))
    path = f"triggers/{workflow['triggers'][0]['id']}"
    installation.studio.patch(f"{path}/", json={"is_active": False})
    installation.send(
        event("order.paid", "trials", id="big", amount=10, order=1), event("order.paid", "trials", id="small", amount=9)
    )
    assert told(installation, "big", workflow)["outcome"] == "inactive"
    installation.studio.patch(f"{path}/", json={"is_active": True})

    trials = [installation.studio.post(f"{path}/test/", json={"event_id": one}).json() for one in ("big", "small")]
    given = {"type": "order.paid", "data": {"amount": "10"}}
    trials.append(installation.studio.post(f"{path}/test/", json={"event": given}).json())

    assert [one["would_fire"] for one in trials] == [True, False, False]
    assert [one["leaves"][0]["found"] for one in trials] == [10, 9, "10"]
    assert [one["step_type"] for one in trials[0]["would_run"]["steps"]] == ["TRANSFORM"]
    assert installation.executions(workflow_id=workflow["id"]) == []

    window = {"since": since, "until": datetime.now(UTC).isoformat()}
    for more, headers in (
        ({"dry_run": True}, {}),
        ({}, {"Idempotency-Key": "once"}),
        ({}, {"Idempotency-Key": "once"}),
    ):
        answer = installation.studio.post(f"{path}/replay/", json=window | more, headers=headers)
        assert answer.status_code == 202
        assert [(one["event_id"], one["fires"]) for one in answer.json()["events"]] == [("big", True), ("small", False)]
    assert [data_of(one)["amount"] for one in runs(installation, workflow)] == [10]


def test_after_all_that_nothing_has_fired_twice(installation: Installation) -> None:
    fired = [one for one in installation.executions(project_id="killed") if one["kind"] == "custom-workflow"]

    assert len(fired) == len({one["workflow_id"] for one in fired}) == 3
    assert len(installation.executions(project_id="missed")) == 9
