"""Which failures have one cause."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from automation.monitoring.errors_seen import OTHER, bounded, grouped
from automation.monitoring.fingerprints import fingerprint, step_of, template

AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("page 'home' version 7 is older than 9", "page <text> version <number> is older than <number>"),
        ("execution 0b9d7c52-4a6e-4f0e-9d0c-6f1f0a3f7f10 is gone", "execution <id> is gone"),
        ("no answer from https://user:pw@host:8443/a/b?c=d", "no answer from <url>"),
        ("no answer from 10.1.2.3:5432 after 2.5 s", "no answer from <host> after <number> s"),
        ("no answer from [fe80::1:2:3]", "no answer from <host>"),
        ("[Errno 28] No space left on device: '/srv/x/y.json'", "[Errno <number>] No space left on device: <text>"),
        ("cannot write /srv/automation/runtime/p1/pages", "cannot write <path>"),
        ("late since 2026-01-15T10:30:00.5Z and 10:31:02", "late since <time> and <time>"),
        ("olga@example.org refused it", "<address> refused it"),
        ("object at 0x7f5132fc3210, commit 9fceb02d0ae5", "object at <id>, commit <id>"),
        ("password=hunter2 was refused", "password=[redacted] was refused"),
        ("cancelled by request", "cancelled by request"),
    ],
)
def test_variable_parts_are_taken_out(message: str, expected: str) -> None:
    assert template(message) == expected


def test_hostile_messages_stay_one_short_line_and_take_no_time() -> None:
    for part in ("a\nb\x1b[31m", "/", "a@", "1.", "'", ":", "a-"):
        text = template(part * (2_000_000 // len(part)))  # the square of it would be hours
        assert len(text) <= 300
        assert text.isprintable()


def test_class_step_and_message_make_a_fingerprint() -> None:
    one = fingerprint("NETWORK_ERROR", "save", "no answer")
    assert len(one) == 16
    assert one == fingerprint("NETWORK_ERROR", "save", "no answer")
    assert len({one, fingerprint("NETWORK_ERROR", "load", "no answer"), fingerprint("X", "save", "no answer")}) == 3


def test_the_items_of_a_loop_are_one_step() -> None:
    assert (step_of("mail[12]"), step_of("mail")) == ("mail", "mail")


def test_failures_of_one_cause_are_one_group_with_its_latest_as_the_example() -> None:
    ids = [uuid4() for _ in range(3)]
    times = [AT + timedelta(minutes=1), AT, AT + timedelta(minutes=2)]
    failures = [(ids[n], times[n], "NETWORK_ERROR", f"no answer after {n} s", "save") for n in range(3)]

    [group] = grouped(failures).values()
    assert (group.first_seen, group.last_seen, group.execution_id) == (AT, times[2], ids[2])
    assert group.minutes == {times[0]: 1, AT: 1, times[2]: 1}


def test_messages_that_are_all_different_do_not_make_groups_without_end() -> None:
    words = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(100)]
    groups = grouped((uuid4(), AT, "UNKNOWN_ERROR", f"no {word}", "save") for word in words)
    assert len(groups) == 100
    known = next(iter(groups))

    kept = bounded(groups, {known}, room=10)
    assert len(kept) == 12
    [other] = [one for one in kept.values() if one.message == OTHER]
    assert sum(other.minutes.values()) == 89
    assert known in kept
