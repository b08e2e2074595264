"""Which missed slots fire and which are skipped, by each policy; with a clock that is passed in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.triggers.missed import AT_ONCE, LEEWAY, LISTED, in_grace, missed, why_skip
from automation.triggers.types import ScheduledConfig

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)


def config(cron: str = "0 * * * *", **values: Any) -> ScheduledConfig:
    return ScheduledConfig(cron=cron, **values)


def test_a_slot_within_its_grace_fires_and_a_later_one_is_skipped_with_the_reason() -> None:
    assert why_skip(config(grace_seconds=300), NOON, NOON + 300 * timedelta(seconds=1)) == ""
    assert why_skip(config(grace_seconds=300), NOON, NOON + 412 * timedelta(seconds=1)) == (
        "skipped: its slot 2026-01-15 12:00 UTC was 412 s ago, its grace is 300 s"
    )


def test_of_the_latest_only_the_newest_slot_fires_however_late() -> None:
    latest = config(catch_up="latest", grace_seconds=1)
    assert why_skip(latest, NOON, NOON + 59 * MINUTE) == ""
    assert "only the latest is caught up with, 2026-01-15 15:00 UTC" in why_skip(latest, NOON, NOON + 3 * HOUR)


def test_with_all_every_slot_fires_however_late() -> None:
    assert why_skip(config(catch_up="all", grace_seconds=1), NOON, NOON + 90 * DAY) == ""


def test_a_slot_is_missed_only_when_the_run_of_it_had_time_to_come() -> None:
    assert missed(config(catch_up="all"), NOON - TICK, NOON + LEEWAY - TICK).fire == []
    assert missed(config(catch_up="all"), NOON - TICK, NOON + LEEWAY).fire == [NOON]


@pytest.mark.parametrize(
    ("values", "fire", "skip"),
    [
        ({"grace_seconds": 2 * 3600}, [-1, 0], [-3, -2]),
        ({"grace_seconds": 60}, [], [-3, -2, -1, 0]),
        ({"catch_up": "latest"}, [0], [-3, -2, -1]),
        ({"catch_up": "all"}, [-3, -2, -1, 0], []),
    ],
)
def test_after_an_outage_of_four_hours(values: dict[str, Any], fire: list[int], skip: list[int]) -> None:
    found = missed(config(**values), NOON - 4 * HOUR, NOON + 30 * MINUTE)
    assert found.fire == [NOON + n * HOUR for n in fire]
    assert found.skip == [NOON + n * HOUR for n in skip]
    assert found.unlisted == 0


@pytest.mark.parametrize("values", [{"grace_seconds": 90.5}, {"catch_up": "latest"}, {"catch_up": "all"}])
def test_a_missed_slot_fires_if_and_only_if_there_is_no_reason_to_skip_it(values: dict[str, Any]) -> None:
    every_minute = config("* * * * *", **values)
    for seconds in range(0, 121, 7):
        now = NOON + timedelta(seconds=seconds)
        found = missed(every_minute, NOON - 10 * MINUTE, now)
        assert [slot for slot in found.fire if why_skip(every_minute, slot, now)] == []
        assert [slot for slot in found.skip if not why_skip(every_minute, slot, now)] == []


def test_while_the_latest_slot_is_still_young_the_older_ones_are_skipped_and_it_is_left_to_its_run() -> None:
    found = missed(config("* * * * *", catch_up="latest"), NOON - 2 * MINUTE - TICK, NOON + timedelta(seconds=5))
    assert found.fire == []
    assert found.skip == [NOON - 2 * MINUTE, NOON - MINUTE]


def test_a_long_outage_of_a_frequent_cron_lists_the_last_and_counts_the_others() -> None:
    now = NOON + 30 * timedelta(seconds=1)
    found = missed(config("* * * * *", grace_seconds=60), NOON - 30 * DAY, now)
    assert found.fire == [NOON]
    assert found.skip == [NOON - n * MINUTE for n in range(LISTED, 0, -1)]
    assert found.unlisted + len(found.skip) + len(found.fire) == 30 * 24 * 60


def test_all_of_a_long_outage_fire_in_rounds_oldest_first() -> None:
    every_minute = config("* * * * *", catch_up="all")
    found = missed(every_minute, NOON - 30 * DAY, NOON)
    assert found.fire == [NOON - 30 * DAY + n * MINUTE for n in range(1, AT_ONCE + 1)]
    assert missed(every_minute, found.fire[-1], NOON).fire[0] == found.fire[-1] + MINUTE


def test_a_run_on_its_way_is_waited_for_as_long_as_the_grace() -> None:
    assert in_grace(config(grace_seconds=60), NOON, NOON + MINUTE)
    assert not in_grace(config(grace_seconds=60), NOON, NOON + MINUTE + TICK)
