"""Every error that Automation raises on purpose, and what each means for a retry.

    AutomationError
    ├── SettingError             a setting has a value that cannot work
    ├── UnavailableError         a part of the installation cannot be reached
    ├── NotFoundError            an object that a request names does not exist
    ├── ConflictError            an object is not in a state that allows the request
    ├── ThrottledError           something was asked for too often; carries the wait
    ├── RefusedError             a request from outside breaks a rule; carries the field
    │   ├── BadSignatureError    a webhook's signature is missing, wrong or too old
    │   └── TooLargeError        a body is over its limit
    └── StepError                a step failed; the class is the retry policy
        ├── ValidationError      the input is wrong and stays wrong     never retried
        ├── DatabaseError        PostgreSQL refused or went away        3 × 60 s
        ├── NetworkError         a neighbour could not be reached       5 × 30 s
        ├── FileSystemError      a file could not be read or written    2 × 120 s
        ├── UnknownError         anything that is not mapped below      3 × 60 s
        ├── StepTimeoutError     a step ran longer than its limit       3 × 60 s
        ├── WorkerLostError      the process that ran it is gone        3 × at once
        └── CancelledError       somebody asked for it                  never retried

The figures are those of the platform's retry table (`RETRY_CONFIG` in the module's description).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import httpx
import pydantic
import sqlalchemy.exc


class AutomationError(Exception):
    """Base of all errors below; its text says what was wrong, with which value, and what to do."""


class SettingError(AutomationError):
    """A setting has a value that cannot work; the text names the variable."""


class UnavailableError(AutomationError):
    """A part of the installation (database, Prefect server) cannot be reached."""


class NotFoundError(AutomationError):
    """An object that a request names does not exist."""


class ConflictError(AutomationError):
    """An object is not in a state that allows the request."""


class ThrottledError(AutomationError):
    """Something was asked for too often.

    Attributes:
        retry_after: seconds until it may be asked for again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(AutomationError):
    """A request from outside breaks a rule.

    Attributes:
        field: where in the request, as a dotted path; empty when it is the whole request.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class BadSignatureError(RefusedError):
    """A webhook's signature is missing, wrong, or too old."""


class TooLargeError(RefusedError):
    """A request's body is over its limit."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long, a failed execution runs again."""

    max_retries: int
    delay: timedelta = timedelta(0)

    def delay_before(self, retry: int) -> timedelta | None:
        """The wait before retry number `retry` (1 is the first), or None when none is left."""
        return self.delay if retry <= self.max_retries else None


class StepError(AutomationError):
    """A step failed. Its class says whether, and when, the execution is tried again.

    Attributes:
        retry_at_once: a blip may pass within two seconds, so Prefect repeats the task in place first.
        retry_after: seconds that whoever refused asks to be left alone, or None; at most a day.
    """

    code: ClassVar[str] = "UNKNOWN_ERROR"
    policy: ClassVar[RetryPolicy] = RetryPolicy(3, timedelta(seconds=60))
    retry_at_once: ClassVar[bool] = False
    retry_after: float | None = None

    def __init__(self, message: str = "") -> None:
        # it goes into a column of the record, and PostgreSQL stores neither NUL nor half a surrogate pair
        super().__init__(message.replace("\0", "\\0").encode(errors="backslashreplace").decode())


class ValidationError(StepError):
    """The input is wrong, and trying again does not change it."""

    code = "VALIDATION_ERROR"
    policy = RetryPolicy(0)


class DatabaseError(StepError):
    """PostgreSQL refused a statement or went away."""

    code = "DATABASE_ERROR"
    policy = RetryPolicy(3, timedelta(seconds=60))
    retry_at_once = True


class NetworkError(StepError):
    """A neighbour could not be reached, or did not answer as agreed."""

    code = "NETWORK_ERROR"
    policy = RetryPolicy(5, timedelta(seconds=30))
    retry_at_once = True

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FileSystemError(StepError):
    """A file could not be read or written."""

    code = "FILE_SYSTEM_ERROR"
    policy = RetryPolicy(2, timedelta(seconds=120))
    retry_at_once = True


class UnknownError(StepError):
    """An error that no line of the table below maps to a class."""


class StepTimeoutError(StepError):
    """A step ran longer than its limit."""

    code = "TIMEOUT_ERROR"


class WorkerLostError(StepError):
    """The process that ran the execution is gone."""

    code = "WORKER_LOST"
    policy = RetryPolicy(3)


class CancelledError(StepError):
    """Somebody asked for the execution to stop."""

    code = "CANCELLED"
    policy = RetryPolicy(0)


# Foreign exceptions and the class that each counts as; the first match wins, so the narrow stand first.
FOREIGN: tuple[tuple[type[BaseException], type[StepError]], ...] = (
    (pydantic.ValidationError, ValidationError),
    (sqlalchemy.exc.SQLAlchemyError, DatabaseError),
    (httpx.HTTPError, NetworkError),
    (ConnectionError, NetworkError),
    (TimeoutError, StepTimeoutError),
    (OSError, FileSystemError),
)


def as_step_error(error: BaseException) -> StepError:
    """The same failure as a `StepError`: itself if it is one, else by the table `FOREIGN`."""
    if isinstance(error, StepError):
        return error
    for foreign, ours in FOREIGN:
        if isinstance(error, foreign):
            return ours(f"{type(error).__name__}: {error}")
    return UnknownError(f"{type(error).__name__}: {error}")


def policy_of(code: str) -> RetryPolicy:
    """The retry policy of a stored error code such as `NETWORK_ERROR`."""
    classes = {sub.code: sub for sub in StepError.__subclasses__()}
    return classes.get(code, UnknownError).policy
