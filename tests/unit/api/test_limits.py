from automation.api.limits import BURST_SECONDS, Limit


class Clock:
    """Seconds that a test moves on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_of_five_seconds_worth_goes_through_and_what_comes_then_waits_its_turn() -> None:
    clock = Clock()
    limit = Limit(10, clock)

    waits = [limit.take("key") for _ in range(60)]

    assert waits[: int(10 * BURST_SECONDS)] == [0.0] * 50
    assert all(wait > 0 for wait in waits[50:])
    clock.now += waits[-1] + 0.001
    assert limit.take("key") == 0
    assert limit.take("key") > 0


def test_whoever_keeps_to_the_rate_is_never_refused() -> None:
    clock = Clock()
    limit = Limit(10, clock)

    for _ in range(1000):
        assert limit.take("key") == 0
        clock.now += 0.1


def test_a_refused_request_does_not_make_the_wait_longer() -> None:
    clock = Clock()
    limit = Limit(1, clock)
    while not limit.take("key"):
        pass
    first = limit.wait("key")

    for _ in range(100):
        assert limit.take("key") == first


def test_a_rate_of_less_than_one_a_second_lets_the_first_one_through() -> None:
    limit = Limit(0.01, Clock())

    assert limit.take("key") == 0
    assert limit.take("key") > 0


def test_one_key_does_not_use_up_what_another_may_send() -> None:
    limit = Limit(1, Clock())
    while not limit.take("loud"):
        pass

    assert limit.take("quiet") == 0


def test_a_million_addresses_take_no_more_memory_than_ten_thousand() -> None:
    limit = Limit(1, Clock())
    for number in range(20_000):
        limit.take(number)

    assert sum(limit.knows(number) for number in range(20_000)) == 10_000
    assert limit.knows(19_999)
