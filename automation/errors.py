"""Every error that Automation raises on purpose, and what each means for a retry.

    AutomationError
    ├── SettingError             a setting has a value that cannot work
    ├── UnavailableError         a part of the installation cannot be reached
    ├── NotFoundError            an object that a request names does not exist
    ├── ConflictError            an object is not in a state that allows the request
    ├── ChangedError             an object is not any more what a request believes it is
    ├── UnauthorizedError        a request says nothing, or nothing true, of who sends it
    ├── ForbiddenError           who sends a request is known, and may not do that
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
        ├── HardTimeoutError     …and did not even stop; it was killed  3 × 60 s
        ├── WorkflowTimeoutError all steps together ran too long        never retried
        ├── WorkerLostError      the process that ran it is gone        3 × at once
        ├── WaitTimeoutError     what a step waited for did not come    never retried
        ├── ChildFailedError     the workflow that a step runs failed   never retried
        ├── RejectedError        somebody said no to an approval        never retried
        └── CancelledError       somebody asked for it                  never retried

The figures are those of the platform's retry table (`RETRY_CONFIG` in the module's description); the setting
AUTOMATION_RETRY_CONFIG, a workflow's or a step's `config.retry` change them.
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


class ChangedError(AutomationError):
    """An object was changed since the sender of a request has seen it."""


class UnauthorizedError(AutomationError):
    """A request carries no key, or one that is none of ours, is over or was revoked."""


class ForbiddenError(AutomationError):
    """A request's key is good, and lacks the scope that the request needs."""


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
    """How often, and after how long, a failed execution runs again.

    Attributes:
        max_retries: tries after the first.
        backoff: seconds before the first retry.
        factor: what each further wait is multiplied by; 1 keeps them equal.
        jitter: part of the wait by which it may be longer or shorter, so that many do not come back at once.
    """

    max_retries: int
    backoff: float = 0.0
    factor: float = 1.0
    jitter: float = 0.0

    def delay_before(self, retry: int, chance: float = 0.5) -> timedelta | None:
        """The wait before retry number `retry` (1 is the first), or None when none is left.

        Args:
            chance: 0 to 1, drawn by the caller; 0.5 is the middle.
        """
        if retry > self.max_retries:
            return None
        seconds = min(self.backoff * self.factor ** min(retry - 1, 64), LONGEST_BACKOFF)
        return timedelta(seconds=seconds * (1 + self.jitter * (2 * chance - 1)))


LONGEST_BACKOFF = 86_400.0
"""Seconds that a growing wait, or one that a neighbour asks for, is cut to."""


class StepError(AutomationError):
    """A step failed. Its class says whether, and when, the execution is tried again.

    Attributes:
        retry_at_once: a blip may pass within two seconds, so Prefect repeats the task in place first.
        retry_after: seconds that whoever refused asks to be left alone, or None; at most a day.
    """

    code: ClassVar[str] = "UNKNOWN_ERROR"
    policy: ClassVar[RetryPolicy] = RetryPolicy(3, 60)
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
    policy = RetryPolicy(3, 60)
    retry_at_once = True


class NetworkError(StepError):
    """A neighbour could not be reached, or did not answer as agreed."""

    code = "NETWORK_ERROR"
    policy = RetryPolicy(5, 30)
    retry_at_once = True

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FileSystemError(StepError):
    """A file could not be read or written."""

    code = "FILE_SYSTEM_ERROR"
    policy = RetryPolicy(2, 120)
    retry_at_once = True


class UnknownError(StepError):
    """An error that no line of the table below maps to a class."""

    code = "UNKNOWN_ERROR"


class StepTimeoutError(StepError):
    """A step ran longer than its limit."""

    code = "TIMEOUT_ERROR"


class HardTimeoutError(StepError):
    """A step did not stop at its limit, and its process was killed."""

    code = "HARD_TIMEOUT"


class WorkflowTimeoutError(StepError):
    """All steps of an execution together ran longer than WORKFLOW_TIMEOUT."""

    code = "WORKFLOW_TIMEOUT"
    policy = RetryPolicy(0)


class WaitTimeoutError(StepError):
    """What a step waited for did not come in time."""

    code = "WAIT_TIMEOUT"
    policy = RetryPolicy(0)


class RejectedError(StepError):
    """Somebody said no to an approval."""

    code = "REJECTED"
    policy = RetryPolicy(0)


class ChildFailedError(StepError):
    """The execution that a step had started and waited for failed, or was cancelled."""

    code = "CHILD_FAILED"
    policy = RetryPolicy(0)


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


def codes() -> dict[str, type[StepError]]:
    """The class of each stored error code, such as `NETWORK_ERROR`."""
    known: list[type[StepError]] = StepError.__subclasses__()
    return {sub.code: sub for sub in known}
