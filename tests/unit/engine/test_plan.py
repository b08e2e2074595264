"""Plans: the order of steps, and what an execution may do next."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.engine.plan import Item, Plan, PlannedStep, make_plan, predecessors
from automation.errors import CancelledError, NetworkError, StepError, ValidationError
from automation.steps import ProjectInfo, StepItem

NOBODY = UUID(int=0)


def step(identifier: str, order: int = 1, after: Any = (), required: bool = True) -> PlannedStep:
    return PlannedStep(uuid4(), identifier, identifier.upper(), order, {}, required, frozenset(after))


def item(*steps: PlannedStep, **values: Any) -> Item:
    return Item(
        execution_id=NOBODY,
        dispatch_no=1,
        workflow_id=NOBODY,
        workflow_name="w",
        kind="custom",
        project=ProjectInfo(),
        trigger_type="API_CALL",
        event_type="",
        trigger_data={},
        occurred_at=datetime.now(UTC),
        attempt=1,
        lost_count=0,
        plan=make_plan(steps),
        **values,
    )


def names(steps: Any) -> list[str]:
    return [one.identifier for one in steps]


class Context:
    """As much of a step's context as a plan touches: the log lines."""

    def __init__(self) -> None:
        self.lines: list[Any] = []


def ended(error: StepError | None = None) -> StepItem:
    work = StepItem(Context(), {}, 1)  # type: ignore[arg-type]
    work.error, work.result = error, None if error else {}
    return work


def test_a_step_waits_for_every_step_of_a_lower_order_and_for_none_of_its_own() -> None:
    orders = {"a": 1, "b": 2, "c": 2, "d": 5}

    assert predecessors("a", 1, [], orders) == frozenset()
    assert predecessors("b", 2, [], orders) == {"a"}
    assert predecessors("d", 5, [], orders) == {"a", "b", "c"}


def test_depends_on_takes_the_place_of_the_order() -> None:
    assert predecessors("d", 5, ["a"], {"a": 1, "b": 2, "d": 5}) == {"a"}


def test_steps_of_equal_order_are_ready_together() -> None:
    one = item(step("a"), step("b", 2, ["a"]), step("c", 2, ["a"]), step("d", 3, ["a", "b", "c"]))

    assert names(one.ready()) == ["a"]
    one.done["a"] = {}
    assert names(one.ready()) == ["b", "c"]
    one.done["c"] = {}
    assert names(one.ready()) == ["b"]
    one.done["b"] = {}
    assert names(one.ready()) == ["d"]


def test_a_step_that_waits_for_a_missing_one_is_named_with_it() -> None:
    with pytest.raises(ValidationError, match=r"'b' depends on nowhere"):
        make_plan([step("a"), step("b", after=["nowhere"])])


@pytest.mark.parametrize("circle", [{"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": ["c"], "b": ["a"], "c": ["b"]}])
def test_steps_that_wait_for_each_other_are_refused_by_name(circle: dict[str, list[str]]) -> None:
    steps = [step("fine"), *(step(name, after=after) for name, after in circle.items())]

    with pytest.raises(ValidationError, match=f"Steps {', '.join(circle)} wait for each other"):
        make_plan(steps)


def test_no_steps_are_a_plan() -> None:
    assert make_plan([]) == Plan(())


def test_nothing_is_ready_after_a_required_step_failed() -> None:
    first, second = step("a"), step("b", 2, ["a"])
    one = item(first, second)

    one.take(first, ended(NetworkError("away")))

    assert one.ready() == []
    assert names(one.left()) == ["b"]


def test_a_failed_step_that_is_not_required_lets_the_workflow_go_on() -> None:
    first = step("a", required=False)
    one = item(first, step("b", 2, ["a"]))

    one.take(first, ended(NetworkError("away")))

    assert (one.error, one.degraded) == (None, {"a": "away"})
    assert names(one.ready()) == ["b"]


def test_cancelling_ends_the_execution_even_in_a_step_that_is_not_required() -> None:
    first = step("a", required=False)
    one = item(first, step("b", 2, ["a"]))

    one.take(first, ended(CancelledError("stop")))

    assert isinstance(one.error, CancelledError)
    assert one.ready() == []


@pytest.mark.parametrize("turned", [False, True])
def test_of_steps_that_fail_side_by_side_the_one_that_forbids_a_retry_decides(turned: bool) -> None:
    failures = [(step("a"), NetworkError("away")), (step("b"), ValidationError("wrong"))]
    one = item(step("c", 2, ["a", "b"]), *(which for which, _ in failures))

    for which, error in failures[::-1] if turned else failures:
        one.take(which, ended(error))

    assert isinstance(one.error, ValidationError)
    assert names(one.left()) == ["c"]


def test_a_step_without_an_outcome_counts_as_failed() -> None:
    first = step("a")
    one, work = item(first), ended()
    work.result = None

    one.take(first, work)

    assert one.error is not None
    assert one.error.code == "UNKNOWN_ERROR"


@st.composite
def workflows(draw: Any) -> list[PlannedStep]:
    """Steps that wait for any of those before them, in any order of the rows."""
    size = draw(st.integers(0, 8))
    earlier = [draw(st.sets(st.integers(0, n - 1))) if n else set() for n in range(size)]
    orders = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    made = [step(f"s{n}", orders[n], {f"s{other}" for other in earlier[n]}) for n in range(size)]
    return list(draw(st.permutations(made)))


@given(workflows())
def test_every_step_stands_after_what_it_waits_for(steps: list[PlannedStep]) -> None:
    plan = make_plan(steps)

    assert sorted(names(plan.steps)) == sorted(names(steps))
    for position, one in enumerate(plan.steps):
        assert one.after <= set(names(plan.steps[:position]))


@given(workflows(), st.data())
def test_whatever_ends_first_a_step_is_offered_after_its_predecessors_and_every_step_once(
    steps: list[PlannedStep], data: st.DataObject
) -> None:
    one, run = item(*steps), []
    while ready := one.ready():
        assert all(other.after <= one.done.keys() for other in ready)
        chosen = data.draw(st.sampled_from(ready))
        run.append(chosen.identifier)
        one.take(chosen, ended())

    assert sorted(run) == sorted(names(steps))
    assert one.left() == []
