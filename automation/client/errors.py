"""What can go wrong when events are sent.

    ClientError
    ├── NotAuthorisedError       the key is missing or wrong
    ├── RefusedError             an event breaks a rule; carries its index and the field
    ├── UnavailableError         no answer, or "later", at every try
    └── UnexpectedAnswerError    an answer that the API does not give: a wrong address, a proxy, a fault there

They are not those of `automation.errors`, whose import brings SQLAlchemy with it.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automation.client.events import Encoded, EventResult


class ClientError(Exception):
    """Base of the errors below; its text says what happened and what to do.

    Attributes:
        accepted: what became of the events that were taken in before it happened, in their order.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.accepted: Sequence[EventResult] = ()
        self._rest: Sequence[Encoded] = ()

    def put_down(self, accepted: "Sequence[EventResult]", rest: "Sequence[Encoded]") -> None:
        """Note how far the sending came."""
        self.accepted, self._rest = accepted, rest

    @property
    def ids(self) -> list[str]:
        """Ids of the events that are not known to be taken in, in their order."""
        return [one.id for one in self._rest]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Those events, with their ids: sent again, each still counts once."""
        return [json.loads(one.body) for one in self._rest]


class NotAuthorisedError(ClientError):
    """The API does not accept the key."""


class RefusedError(ClientError):
    """An event breaks a rule, and none of its request was taken in.

    Attributes:
        index: the event's place in the list that was given to `send`, from 0; None if no single one is named.
        field: where in the event, as a dotted path; empty when it is the whole event.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str, index: int | None = None, field: str = "", *, subject: str = "") -> None:
        super().__init__(f"{subject}: {reason}" if subject else reason)
        self.index = index
        self.field = field
        self.reason = reason


class UnavailableError(ClientError):
    """The API could not be reached, or had no time, however often it was tried.

    Attributes:
        retry_after: seconds after which it asked to be tried again, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnexpectedAnswerError(ClientError):
    """What answers is not the API, or the API has a fault."""
