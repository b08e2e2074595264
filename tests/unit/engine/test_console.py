"""How many lines of executions a console gets."""

from collections import Counter

from automation.engine.console import Allowance


def test_of_each_level_so_many_are_said_in_a_second_and_the_rest_is_counted() -> None:
    allowance = Allowance(per_second=3)

    assert [allowance.take("INFO", 1.0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take("ERROR", 1.5)
    assert allowance.is_exceeded
    assert allowance.account() == Counter({"INFO": 2})
    assert not allowance.is_exceeded


def test_in_the_next_second_so_many_are_said_again() -> None:
    allowance = Allowance(per_second=1)
    allowance.take("INFO", 1.0)

    assert not allowance.take("INFO", 1.9)
    assert allowance.take("INFO", 2.0)
