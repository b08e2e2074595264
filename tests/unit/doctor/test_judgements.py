"""What the doctor makes of what it sees: pure."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from automation.doctor import packages
from automation.doctor.configuration import contradictions, surroundings
from automation.doctor.database import judge_clock, judge_connections
from automation.doctor.examine import CHECKS
from automation.doctor.home import judge_disk
from automation.doctor.orchestration import PREFECT_YAML, differences
from automation.doctor.prefect_server import traps
from automation.settings import Settings

DOCS = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_every_check_has_a_section_and_every_section_a_check() -> None:
    text = DOCS.read_text()
    sections = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert sections == list(CHECKS)


# --- settings -----------------------------------------------------------------------------------------------


def test_the_defaults_do_not_contradict_each_other() -> None:
    assert contradictions(Settings()) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"step_soft_time_limit": 700}, "AUTOMATION_STEP_SOFT_TIME_LIMIT=700"),
        ({"WORKFLOW_TIMEOUT": 200}, "WORKFLOW_TIMEOUT=200"),
        ({"max_in_flight": 5}, "AUTOMATION_MAX_IN_FLIGHT=5"),
        ({"max_batch_runs": 10}, "AUTOMATION_MAX_BATCH_RUNS=10"),
        ({"batch_linger": 400}, "AUTOMATION_BATCH_LINGER=400"),
        ({"shutdown_grace": 12}, "AUTOMATION_SHUTDOWN_GRACE=12"),
        ({"queue_age_alert": 3}, "AUTOMATION_QUEUE_AGE_ALERT=3"),
        ({"body_limit_bytes": 10_000_000}, "AUTOMATION_BODY_LIMIT_BYTES=10000000"),
        ({"sites_port": 8000}, "AUTOMATION_SITES_PORT"),
    ],
)
def test_settings_that_defeat_each_other_are_named_with_their_values(given: dict[str, Any], named: str) -> None:
    [(saw, todo)] = contradictions(Settings(**given))
    assert named in saw
    assert todo


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PREFECT_API_URL": "http://127.0.0.1:4201/api"}, "port 4201"),
        ({"PREFECT_API_URL": "http://[::1"}, "no URL"),
        ({"PREFECT_LOGGING_TO_API_ENABLED": "false"}, "PREFECT_LOGGING_TO_API_ENABLED"),
    ],
)
def test_an_environment_that_contradicts_the_settings_is_named(environ: dict[str, str], named: str) -> None:
    [(saw, _)] = surroundings(Settings(), environ)
    assert named in saw


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:4200/api", "https://prefect.example.org/api"])
def test_a_prefect_elsewhere_or_at_our_port_contradicts_nothing(url: str) -> None:
    assert surroundings(Settings(), {"PREFECT_API_URL": url}) == []


# --- libraries ----------------------------------------------------------------------------------------------


def test_a_library_out_of_its_range_or_missing_is_named_with_its_version() -> None:
    wanted = [Requirement("sqlalchemy>=2.0,<2.0.1"), Requirement("pydantic>=2"), Requirement("no-such-library>=1")]
    first, second = packages.problems(wanted)
    assert first.startswith("sqlalchemy 2.0.")
    assert "<2.0.1" in first
    assert second == "no-such-library is missing"


# --- disk, connections, clocks ------------------------------------------------------------------------------


def disk(free: float, files: float = 0.9, size: int = 1_000_000) -> os.statvfs_result:
    blocks, inodes = int(free * size), int(files * 1000)
    return os.statvfs_result((4096, 4096, size, blocks, blocks, 1000, inodes, inodes, 0, 255))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (disk(0.5), "ok"),
        (disk(0.08), "warning"),
        (disk(0.01), "failed"),
        (disk(0.5, files=0.05), "warning"),
        (disk(0.5, files=0.001), "failed"),
        (os.statvfs_result((4096, 4096, 100, 50, 50, 0, 0, 0, 0, 255)), "ok"),  # one without a limit of files
    ],
)
def test_a_disk_that_runs_out_of_room_or_of_files_is_told_of(found: os.statvfs_result, state: str) -> None:
    [finding] = judge_disk(Path("/home"), found)
    assert finding.state == state
    assert bool(finding.todo) == (state != "ok")


@pytest.mark.parametrize(("used", "state"), [(50, "ok"), (85, "warning"), (97, "failed")])
def test_connections_that_run_out_are_told_of(used: int, state: str) -> None:
    [finding] = judge_connections(used, 100)
    assert (finding.state, f"{used} of 100" in finding.saw) == (state, True)


NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "grain", "state", "saw"),
    [
        (0, 0, "ok", "agree"),
        (1.9, 0, "ok", "agree"),
        (5, 0, "warning", "4.9 s ahead"),
        (-5, 0, "warning", "5.0 s behind"),
        (-600, 0, "failed", "600.0 s behind"),
        (-2.9, 1, "ok", "agree"),  # told in whole seconds
    ],
)
def test_a_clock_that_is_off_is_told_of(seconds: float, grain: float, state: str, saw: str) -> None:
    theirs = NOON + timedelta(seconds=seconds)
    [finding] = judge_clock("the clock", theirs, NOON, NOON + timedelta(seconds=0.1), grain)
    assert finding.state == state
    assert saw in finding.saw


# --- Prefect ------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "server": {
        "api": {"default_limit": 200},
        "concurrency": {"lease_storage": "prefect.server.concurrency.lease_storage.filesystem"},
        "database": {"connection_url": "**********", "driver": None, "timeout": 60.0},
        "deployments": {"concurrency_slot_wait_seconds": 3.0},
        "services": {
            "db_vacuum": {"enabled": ["events", "flow_runs"]},
            "cancellation_cleanup": {"enabled": True, "cancelling_timeout_seconds": 3600.0},
            "scheduler": {"enabled": True},
        },
    }
}


def with_(*path: str, value: object) -> dict[str, Any]:
    """The good settings with one of them changed."""
    changed: Any = value
    for depth in range(len(path) - 1, -1, -1):
        above: Any = GOOD
        for name in path[:depth]:
            above = above[name]
        changed = {**above, path[depth]: changed} if isinstance(above, dict) else changed
    return dict(changed)


def test_a_server_that_is_set_up_as_up_does_it_has_no_trap() -> None:
    assert traps(GOOD, Settings()) == []


@pytest.mark.parametrize(
    ("server", "named"),
    [
        (with_("server", "database", value={"connection_url": None, "driver": None, "timeout": 60}), "SQLite"),
        (with_("server", "services", "scheduler", value={"enabled": False}), "SCHEDULER_ENABLED"),
        (with_("server", "services", "db_vacuum", value={"enabled": None}), "DB_VACUUM_ENABLED"),
        (with_("server", "services", "db_vacuum", value={"enabled": "events"}), "DB_VACUUM_ENABLED"),
        (with_("server", "concurrency", value={"lease_storage": "prefect.server.x.memory"}), "LEASE_STORAGE"),
        (
            with_("server", "services", "cancellation_cleanup", value={"cancelling_timeout_seconds": 300.0}),
            "CANCELLING_TIMEOUT_SECONDS",
        ),
        (with_("server", "deployments", value={"concurrency_slot_wait_seconds": 30.0}), "SLOT_WAIT_SECONDS"),
        (with_("server", "database", value={"connection_url": "*", "timeout": 10.0}), "DATABASE_TIMEOUT"),
        (with_("server", "api", value={"default_limit": 50}), "DEFAULT_LIMIT"),
    ],
)
def test_each_trap_in_the_settings_of_a_server_is_named_with_its_variable(server: dict[str, Any], named: str) -> None:
    [finding] = traps(server, Settings())
    assert named in finding.saw + finding.todo
    assert finding.state != "ok"


def test_a_deployment_that_people_added_schedules_and_tags_to_is_still_the_one_of_the_file() -> None:
    import yaml

    shipped = next(one for one in yaml.safe_load(PREFECT_YAML.read_text())["deployments"] if one["name"] == "cleanup")
    own = {"slug": "cleanup", "active": True, "schedule": {"cron": "0 2 * * *", "timezone": "UTC"}}
    held = {
        "entrypoint": shipped["entrypoint"], "work_pool_name": "automation", "work_queue_name": "maintenance",
        "global_concurrency_limit": None, "tags": ["automation", "mine"],
        "schedules": [own, {"slug": "mine", "active": True, "schedule": {"interval": 60}}],
    }  # fmt: skip
    assert differences(shipped, held) == []
    assert differences(shipped, held | {"work_queue_name": "custom"}) == ["queue"]
    assert differences(shipped, held | {"schedules": []}) == ["schedule cleanup is missing"]
    assert differences(shipped, held | {"schedules": [own | {"active": False}]}) == ["schedule cleanup is off"]
    assert differences(shipped, held | {"global_concurrency_limit": {"limit": 2}}) == ["limit"]
