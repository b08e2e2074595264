"""Events as they come from outside, checked before anything is done with them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol
from uuid import uuid4

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic import ValidationError as PydanticError

from automation.errors import RefusedError
from automation.models import Json
from automation.runtime.names import plain_name

EVENTS_PER_REQUEST = 500

API_CALL = "api.call"
"""Type of the event that a call of `workflows/{id}/execute/` is to its trigger."""
PAGE_EVENTS = ("page.created", "page.updated", "page.deleted")
# PostgreSQL stores neither NUL nor half of a surrogate pair in its text.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_MAX_DEPTH = 64

EventType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")]


def _now() -> datetime:
    return datetime.now(UTC)


class HasHappened(Protocol):
    """What triggers see of an event, whether it comes in now, waited for its time, or is looked at again."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def project_id(self) -> str: ...
    @property
    def data(self) -> Json: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def version(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event that came in earlier, or that we made ourselves (a cron slot, a change of files)."""

    id: str
    type: str
    project_id: str
    data: Json
    occurred_at: datetime
    version: int | None = None


def root_of(event: HasHappened) -> Json:
    """The event as conditions and keys see it; of a call, `data` has what its `input` has."""
    data = event.data
    if event.type == API_CALL and isinstance(given := data.get("input"), dict):  # anybody may send that type
        data = {**given, **data}
    return {
        "id": event.id,
        "type": event.type,
        "project_id": event.project_id,
        "timestamp": event.occurred_at.isoformat(),
        "data": data,
    }


def version_of(data: Json) -> int | None:
    """The version of the page in an event's data; a `bool` or a number beyond 64 bits is none."""
    page = data.get("page")
    version = page.get("version") if isinstance(page, dict) else None
    usable = isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 2**63
    return version if usable else None


class IncomingEvent(BaseModel):
    """An event of Studio's, or of anybody else who may send one.

    `occurred_at` is the sender's clock, but never later than ours: an event "from the future" would
    otherwise keep every later save of its page from being written.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: EventType
    data: Json
    id: EventId = Field(default_factory=lambda: str(uuid4()))
    timestamp: AwareDatetime = Field(default_factory=_now)
    _received_at: datetime = PrivateAttr(default_factory=_now)

    @field_validator("timestamp")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise ValueError("expected a time between the years 1 and 9999 in UTC") from None

    @model_validator(mode="after")
    def _check(self) -> "IncomingEvent":
        project = self.data.get("project")
        if "project_id" not in self.data and isinstance(project, dict) and "id" in project:
            self.data["project_id"] = project["id"]
        plain_name(self.data.get("project_id"), "data.project_id")
        if self.type in PAGE_EVENTS:
            page = self.data.get("page")
            if not isinstance(page, dict):
                raise RefusedError("data.page: expected an object with the page's id", "data.page")
            plain_name(page.get("id"), "data.page.id")
        storable(self.data, "data")
        return self

    @property
    def received_at(self) -> datetime:
        """When we first saw it, by our clock."""
        return self._received_at

    @property
    def project_id(self) -> str:
        return str(self.data["project_id"])

    @property
    def occurred_at(self) -> datetime:
        return min(self.timestamp, self.received_at)

    @property
    def version(self) -> int | None:
        return version_of(self.data)


def storable(value: Any, path: str) -> None:
    """Refuse what PostgreSQL cannot store as JSON, or what is nested too deeply.

    Raises:
        RefusedError: with the path of what is wrong.
    """
    try:
        encoded = orjson.dumps(value)  # refuses half surrogates and whole numbers beyond 64 bits
    except TypeError:
        encoded = b"\\u0000"
    if b"\\u0000" in encoded or not is_shallow(value, _MAX_DEPTH):
        _find_fault(value, path, 1)  # exact, and slower


def is_shallow(value: Any, levels: int) -> bool:
    """Whether objects and lists lie at most so many levels within each other."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def _find_fault(value: Any, path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        root = path.split(".")[0]
        raise RefusedError(f"{root}: nested deeper than {_MAX_DEPTH} levels", root)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise RefusedError(f"{path}: a whole number beyond 64 bits cannot be stored", path)
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise RefusedError(f"{path}: holds a NUL or half a surrogate pair, which cannot be stored", path)
    if isinstance(value, dict):
        for key, inner in value.items():
            _find_fault(key, path, depth)
            _find_fault(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _find_fault(inner, f"{path}.{index}", depth + 1)


def parse_event(raw: object, prefix: str = "", **defaults: Any) -> IncomingEvent:
    """One event of a request.

    Args:
        prefix: where it stands in the request (`12.` in a list), for the error.
        defaults: values for keys that the event does not have.

    Raises:
        RefusedError: it breaks a rule; `field` is the dotted path to what is wrong.
    """
    if not isinstance(raw, dict):
        raise RefusedError(f"{prefix or 'body'}: expected an object, got {type(raw).__name__}", prefix.rstrip("."))
    try:
        return IncomingEvent.model_validate({**defaults, **raw})
    except RefusedError as error:
        raise RefusedError(f"{prefix}{error}", prefix + error.field) from None
    except PydanticError as error:
        first = error.errors()[0]
        field = prefix + ".".join(map(str, first["loc"]))
        raise RefusedError(f"{field}: {first['msg']}", field) from None


def parse_events(raw: object) -> list[IncomingEvent]:
    """The events of a request: one object, or a list of up to 500. One bad element refuses the list.

    Raises:
        RefusedError: as `parse_event`; `field` begins with the element's index.
    """
    if not isinstance(raw, list):
        return [parse_event(raw)]
    if len(raw) > EVENTS_PER_REQUEST:
        raise RefusedError(f"a list of {len(raw)} events is too long; send at most {EVENTS_PER_REQUEST}")
    return [parse_event(one, prefix=f"{index}.") for index, one in enumerate(raw)]
