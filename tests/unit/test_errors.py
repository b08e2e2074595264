"""The retry table, and which class foreign exceptions count as."""

import sqlite3
from datetime import timedelta

import httpx
import pydantic
import pytest
from sqlalchemy.exc import InterfaceError, OperationalError

from automation import errors
from automation.errors import StepError, as_step_error, policy_of


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
    policy = policy_of(code)

    waits = [policy.delay_before(retry) for retry in range(1, 8)]
    assert waits == [timedelta(seconds=seconds)] * retries + [None] * (7 - retries)


def test_every_code_names_one_class_and_its_policy() -> None:
    classes = StepError.__subclasses__()

    assert len({one.code for one in classes}) == len(classes)
    assert all(policy_of(one.code) == one.policy for one in classes)
    assert policy_of("SOMETHING_FROM_A_NEWER_VERSION") == errors.UnknownError.policy


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
