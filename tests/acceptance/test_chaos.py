"""Mixed work while parts are killed at random: nothing is lost, and nothing happens twice.

AUTOMATION_CHAOS_SECONDS=300 pytest tests/acceptance/test_chaos.py      # 2,000 executions
"""

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest

from tests.acceptance.conftest import Installation, Json, until
from tests.acceptance.studio import event, page, text

SECONDS = float(os.environ.get("AUTOMATION_CHAOS_SECONDS", "15"))
PER_SECOND = 2000 / 300
SEED = int(os.environ.get("AUTOMATION_CHAOS_SEED", time.time_ns() % 100_000))

PARTS = {
    "service": ("automation.cli", "serve"),
    "worker": ("worker", "start"),
    "children": ("multiprocessing.forkserver",),
    "prefect-server": ("server", "start"),
    "postgres": ("postgres", "-D"),
}
PROJECTS = 10

pytestmark = pytest.mark.timeout(SECONDS + 900)

STEPS: list[list[Json]] = [
    [{"step_type": "TRANSFORM", "config": {"output": {"n": "{{ trigger.data.n }}"}}}],
    [
        {"step_type": "SET_VARIABLES", "config": {"variables": {"n": "{{ trigger.data.n }}"}}},
        {"step_type": "WAIT", "config": {"seconds": 2}},
        {"step_type": "TRANSFORM", "config": {"output": {"n": "{{ steps.set_variables.result.n }}"}}},
    ],
    [
        {
            "step_type": "FOR_EACH",
            "config": {
                "items": [1, 2, 3],
                "step": {"step_type": "TRANSFORM", "config": {"output": {"n": "{{ item }}"}}},
            },
        },
        {"step_type": "TRANSFORM", "config": {"output": {"n": "{{ trigger.data.n }}"}}},
    ],
]


@dataclass
class Sent:
    """What was accepted: the last version of each page, and how many events each type of workflow was sent."""

    pages: dict[tuple[str, str], int] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)


def test_work_of_all_kinds_is_done_once_whatever_is_killed(installation: Installation) -> None:
    chance = random.Random(SEED)
    print(f"AUTOMATION_CHAOS_SEED={SEED} AUTOMATION_CHAOS_SECONDS={SECONDS:g}")
    workflows = [add_workflow(installation, number) for number in range(len(STEPS))]
    sent = Sent()
    numbers, began = count(1), time.monotonic()
    kills = schedule_of_kills(chance)
    next_kill = next(kills)
    total = round(SECONDS * PER_SECOND)
    for number in numbers:
        if number > total:
            break
        send_one(installation, chance, sent, number)
        while time.monotonic() - began > next_kill[0]:
            kill(installation, next_kill[1])
            next_kill = next(kills)
        time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))

    ended = {one["id"]: one for project in range(PROJECTS) for one in all_ended(installation, name_of(project))}

    assert {one["status"] for one in ended.values()} <= {"COMPLETED", "CANCELLED"}
    for (project, name), version in sent.pages.items():
        saved = json.loads((installation.home / f"runtime/{project}/pages/{name}.json").read_text())
        assert saved["version"] == version
    for workflow in workflows:
        made = [one for one in ended.values() if one["workflow_id"] == workflow["id"]]
        wanted = [id_ for id_ in sent.orders if id_.startswith(f"chaos-{SEED}-{workflow['number']}-")]
        assert len(made) == len(wanted)
        results = [last_result(installation, one["id"]) for one in made]
        assert sorted(results) == sorted(int(id_.rsplit("-", 1)[1]) for id_ in wanted)
    until(
        lambda: installation.run("mirror", "verify").returncode == 0, 60, lambda: installation.run("mirror", "verify")
    )


def name_of(project: int) -> str:
    return f"chaos-{project}"


def add_workflow(installation: Installation, number: int) -> Json:
    body = {
        "name": f"Chaos {number}",
        "project_id": name_of(0),
        "triggers": [{"trigger_type": "EVENT", "event_type": f"chaos.{number}"}],
        "steps": STEPS[number],
    }
    answer = installation.studio.post("workflows/", json=body)
    assert answer.status_code == 201, answer.text
    return {"id": answer.json()["id"], "number": number}


def send_one(installation: Installation, chance: random.Random, sent: Sent, number: int) -> None:
    """Seven of ten are page edits; the others one of the workflows, or a publish."""
    if chance.random() < 0.7:
        project, name = name_of(chance.randrange(PROJECTS)), f"page-{chance.randrange(30)}"
        version = sent.pages.get((project, name), 0) + 1
        deliver(installation, page(project, name, text("x"), version=version, id=f"chaos-{SEED}-edit-{number}"))
        sent.pages[project, name] = version
    elif chance.random() < 0.1 and sent.pages:
        project = chance.choice(sorted(sent.pages))[0]
        deliver(installation, event("project.published", project, id=f"chaos-{SEED}-publish-{number}"))
    else:
        kind = chance.randrange(len(STEPS))
        id_ = f"chaos-{SEED}-{kind}-{number}"
        deliver(installation, {"id": id_, "type": f"chaos.{kind}", "data": {"project_id": name_of(0), "n": number}})
        sent.orders.append(id_)


def deliver(installation: Installation, one: Json) -> None:
    """As Studio's outbox does: the same event again until it is accepted."""
    until(lambda: installation.studio.post("events/", json=one).status_code == httpx.codes.ACCEPTED, 120)


def schedule_of_kills(chance: random.Random) -> Iterator[tuple[float, str]]:
    """Moments, in seconds from the start, and what is killed then; each part once before any comes again."""
    at = 0.0
    while True:
        for part in chance.sample(sorted(PARTS), len(PARTS)):
            at += chance.uniform(0.5, 1.5) * max(3.0, SECONDS / 20)
            yield at, part


def kill(installation: Installation, part: str) -> None:
    try:
        installation.kill(*PARTS[part])
    except AssertionError:
        print(f"{part} is being started")  # killed a moment ago


def all_ended(installation: Installation, project: str) -> list[Json]:
    until(lambda: installation.all_ended(600, project_id=project) is not None, 600)
    return installation.all_ended(project_id=project)


def last_result(installation: Installation, id_: str) -> int:
    done: list[Json] = []
    until(lambda: done.append(installation.execution(id_)["steps"][-1]["result"]) is None, 60)
    return int(done[-1]["n"])
