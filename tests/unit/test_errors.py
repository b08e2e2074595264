"""The retry table, and which class foreign exceptions count as."""

import sqlite3
from datetime import timedelta

import httpx
import pydantic
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError

from automation import errors
from automation.errors import LONGEST_BACKOFF, RetryPolicy, StepError, as_step_error
from automation.retries import Rule, policy


class _Model(pydantic.BaseModel):
    number: int


def _invalid() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        _Model.model_validate({"number": "x"})
    return caught.value


@pytest.mark.parametrize(
    ("code", "retries", "seconds"),
    [
        ("DATABASE_ERROR", 3, 60),
        ("NETWORK_ERROR", 5, 30),
        ("FILE_SYSTEM_ERROR", 2, 120),
        ("VALIDATION_ERROR", 0, 0),
        ("WORKER_LOST", 3, 0),
        ("CANCELLED", 0, 0),
    ],
)
def test_the_retry_table_is_the_platforms(code: str, retries: int, seconds: int) -> None:
    found = policy(code)

    waits = [found.delay_before(retry) for retry in range(1, 8)]
    assert waits == [timedelta(seconds=seconds)] * retries + [None] * (7 - retries)


def test_every_code_names_one_class_and_its_policy() -> None:
    classes = StepError.__subclasses__()

    assert len({one.code for one in classes}) == len(classes)
    assert all(policy(one.code) == one.policy for one in classes)
    assert policy("SOMETHING_FROM_A_NEWER_VERSION") == errors.UnknownError.policy


@pytest.mark.parametrize(
    ("raised", "counts_as"),
    [
        (_invalid(), errors.ValidationError),
        (OperationalError("SELECT 1", {}, sqlite3.OperationalError("gone")), errors.DatabaseError),
        (InterfaceError("SELECT 1", {}, Exception("closed")), errors.DatabaseError),
        (httpx.ConnectError("refused"), errors.NetworkError),
        (httpx.ReadTimeout("slow"), errors.NetworkError),
        (ConnectionRefusedError("refused"), errors.NetworkError),
        (BrokenPipeError("gone"), errors.NetworkError),
        (TimeoutError(), errors.StepTimeoutError),
        (PermissionError("no"), errors.FileSystemError),
        (FileNotFoundError("no"), errors.FileSystemError),
        (ZeroDivisionError("x"), errors.UnknownError),
        (KeyError("x"), errors.UnknownError),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else one.__name__,
)
def test_a_foreign_exception_counts_as(raised: BaseException, counts_as: type[StepError]) -> None:
    found = as_step_error(raised)

    assert type(found) is counts_as
    assert str(found).startswith(type(raised).__name__)


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = errors.FileSystemError("disk full")

    assert as_step_error(error) is error


@pytest.mark.parametrize("kind", StepError.__subclasses__())
def test_only_what_may_pass_at_once_is_repeated_in_place(kind: type[StepError]) -> None:
    blips = {errors.DatabaseError, errors.NetworkError, errors.FileSystemError}

    assert kind.retry_at_once is (kind in blips)


def test_an_exponential_wait_grows_by_its_factor_and_ends_at_a_day() -> None:
    waits = [RetryPolicy(100, 10, factor=3).delay_before(retry) for retry in (1, 2, 3, 100)]

    assert waits == [timedelta(seconds=seconds) for seconds in (10, 30, 90, LONGEST_BACKOFF)]


@pytest.mark.parametrize(("chance", "seconds"), [(0, 75), (0.5, 100), (1, 125)])
def test_jitter_makes_a_wait_longer_or_shorter_by_at_most_its_part(chance: float, seconds: float) -> None:
    assert RetryPolicy(1, 100, jitter=0.25).delay_before(1, chance) == timedelta(seconds=seconds)


def test_a_rule_of_a_step_goes_before_the_workflows_and_that_before_the_settings() -> None:
    settings = {"NETWORK_ERROR": Rule(max_retries=9, backoff=1, factor=2)}
    workflow = {"NETWORK_ERROR": Rule(backoff=7)}
    step = {"": Rule(max_retries=1)}

    assert policy("NETWORK_ERROR", settings, workflow, step) == RetryPolicy(1, 7, 2)
    assert policy("DATABASE_ERROR", settings, workflow, step) == RetryPolicy(1, 60)


def test_a_rule_for_all_errors_does_not_have_those_tried_again_that_never_are() -> None:
    everything = {"": Rule(max_retries=5)}

    assert policy("VALIDATION_ERROR", everything).max_retries == 0
    assert policy("VALIDATION_ERROR", {"VALIDATION_ERROR": Rule(max_retries=2)}).max_retries == 2
