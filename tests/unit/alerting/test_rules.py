"""Rules are data: the defaults, what an installation says over them, and what is wrong with it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from automation.alerting.checks import CHECKS
from automation.alerting.rules import DEFAULTS, QuietHours, Rules, load
from automation.errors import SettingError

DOCS = Path(__file__).parents[3] / "docs"


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "alerts.yaml"
    file.write_text(text)
    return file


def test_the_defaults_watch_all_that_the_platform_asks_for() -> None:
    rules = load()
    assert rules.rules["repeated-failures"].model_dump()["failures"] == 3
    assert rules.rules["slow-executions"].model_dump()["longer_than_seconds"] == 10
    assert rules.rules["slow-executions"].model_dump()["times_usual_p95"] == 3
    cpu = rules.rules["cpu-saturated"].model_dump()
    assert (cpu["above"], cpu["for_seconds"]) == (0.8, 300)
    assert rules.rules["critical-errors"].severity == "CRITICAL"
    assert {"disk-full", "memory-saturated", "connections-used-up", "queue-old", "dead-letters", "no-worker"} <= set(
        rules.rules
    )
    assert {"mirror-lag", "schedule-missed", "run-without-heartbeat", "rollback-failed", "database-away"} <= set(
        rules.rules
    )
    assert all(rule.enabled for rule in rules.rules.values())


def test_every_type_of_rule_is_looked_at_or_comes_by_itself() -> None:
    types = {rule.type for rule in load().rules.values()}
    assert types == {*CHECKS, "sightings", "database_away"}


def test_every_rule_has_a_section_in_the_runbook_and_a_row_in_the_table() -> None:
    runbook, page = (DOCS / "runbook.md").read_text(), (DOCS / "alerts.md").read_text()
    for name in load().rules:
        assert f"\n## {name}\n" in runbook
        assert f"| [{name}](runbook.md#{name}) |" in page


def test_a_file_need_only_say_what_differs(tmp_path: Path) -> None:
    text = "rules:\n  cpu-saturated: {above: 0.95}\n  disk-full: {enabled: false}\nchannels: {WARNING: [team]}\n"
    rules = load(own(tmp_path, text))
    assert rules.rules["cpu-saturated"].model_dump()["above"] == 0.95
    assert rules.rules["cpu-saturated"].for_seconds == 300
    assert "disk-full" not in rules.enabled()
    assert rules.channels == {"CRITICAL": ("admins",), "WARNING": ("team",), "INFO": ()}


def test_a_rule_of_a_new_name_is_looked_at_last(tmp_path: Path) -> None:
    text = """
rules:
  disk-filling: {type: host, resource: disk, above: 0.7, severity: WARNING, title: Fills up, todo: Look}
"""
    assert list(load(own(tmp_path, text)).rules)[-1] == "disk-filling"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n  cpu-saturated: {above: 80}\n", "rules.cpu-saturated.above: Input should be less than 1, got 80"),
        ("rules:\n  cpu-saturated: {abvoe: 0.8}\n", "rules.cpu-saturated.abvoe: Extra inputs are not permitted"),
        ("rules:\n  mine: {severity: WARNING}\n", "rules.mine: Unable to extract tag using discriminator 'type'"),
        ("rules:\n  cpu-saturated: 5\n", "rules.cpu-saturated: "),
        ("rules: [a]\n", "rules: expected rules by name"),
        ("rules:\n  a: b: c\n", "no YAML: mapping values are not allowed here"),
        ("- a\n", "expected `rules:` and the like, got list"),
        ("", "expected `rules:` and the like, got NoneType"),
        ("channels: {FATAL: [admins]}\n", "channels.FATAL"),
        ("channels: {INFO: [owner]}\n", "channels.INFO.0"),
        ("rules:\n  no-worker: {channels: [owner]}\n", "rules.no-worker.channels.0"),
        (
            'quiet_hours: {from: "22:00", to: "07:00", timezone: Mars/Olympus}\n',
            "quiet_hours.timezone: expected a time",
        ),
        # YAML's number for 22:00 without quotes, and a time that compares with no other
        ('quiet_hours: {from: 22:00, to: "07:00"}\n', "quiet_hours.from: expected a time of day in quotes"),
        ('quiet_hours: {from: "22:00Z", to: "07:00"}\n', "quiet_hours.from: expected a time of day in quotes"),
        ("rules:\n  mine: {type: sightings, severity: INFO, title: t, todo: t}\n", "rules: mine would see nothing"),
        ("rules:\n  repeated-failures: {failures: 0}\n", "rules.repeated-failures.failures: "),
        ("rules:\n  no-worker: {for_seconds: .inf}\n", "rules.no-worker.for_seconds: "),
        ("rules:\n  '../x': {type: no_worker, severity: INFO, title: t, todo: t}\n", "rules.../x"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = own(tmp_path, text)
    with pytest.raises(SettingError) as caught:
        load(file)
    assert str(caught.value).startswith(f"AUTOMATION_ALERTS_FILE={file}: ")
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="a YAML file that can be read"):
        load(tmp_path / "nowhere.yaml")


def test_the_defaults_are_a_file_of_the_same_shape() -> None:
    assert load(DEFAULTS) == load()


# --- quiet hours -------------------------------------------------------------------------------------------------


def hours(since: str, to: str, timezone: str = "UTC") -> QuietHours:
    return QuietHours.model_validate({"from": since, "to": to, "timezone": timezone})


@pytest.mark.parametrize(
    ("quiet", "at", "expected"),
    [
        (hours("22:00", "07:00"), "21:59", False),
        (hours("22:00", "07:00"), "22:00", True),
        (hours("22:00", "07:00"), "03:00", True),
        (hours("22:00", "07:00"), "07:00", False),
        (hours("12:00", "14:00"), "13:00", True),
        (hours("12:00", "14:00"), "14:00", False),
        (hours("12:00", "12:00"), "12:00", False),
        (hours("22:00", "07:00", "Asia/Tokyo"), "14:00", True),  # 23:00 there
    ],
)
def test_quiet_hours_may_go_over_midnight_and_follow_a_time_zone(quiet: QuietHours, at: str, expected: bool) -> None:
    moment = datetime.fromisoformat(f"2026-01-15T{at}").replace(tzinfo=UTC)
    assert quiet.include(moment) is expected


def test_summer_time_moves_the_quiet_hours_with_it() -> None:
    paris = hours("22:00", "07:00", "Europe/Paris")
    assert not paris.include(datetime(2026, 7, 15, 5, 30, tzinfo=UTC))
    assert paris.include(datetime(2026, 1, 15, 5, 30, tzinfo=UTC))


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_night_in_which_the_clocks_change_is_quiet_to_its_end(day: str) -> None:
    paris, zone = hours("22:00", "07:00", "Europe/Paris"), ZoneInfo("Europe/Paris")
    evening, morning = (datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=zone) for at in ("00:00", "07:00"))
    moment, end = evening.astimezone(UTC), morning.astimezone(UTC)
    while moment < end:
        assert paris.include(moment)
        moment += timedelta(minutes=15)
    assert not paris.include(end)


def test_channels_of_a_rule_come_before_those_of_its_severity() -> None:
    rules: Rules = load()
    assert rules.channels_of(rules.rules["repeated-failures"]) == ("admins", "owner")
    assert rules.channels_of(rules.rules["no-worker"]) == ("admins",)
