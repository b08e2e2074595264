"""JSON bodies, parsed by hand: whatever arrives, the answer is a 422 that says what is wrong."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import ValidationError as PydanticError
from starlette.requests import Request

from automation.errors import RefusedError
from automation.intake.events import is_shallow

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
# so far that PostgreSQL and Python agree on every time between, whatever its zone
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

MAX_DEPTH = 64
"""Objects and lists within each other."""


def parse_json(raw: bytes) -> object:
    """The value of a JSON text; NaN, bad UTF-8, lone surrogates and nesting over `MAX_DEPTH` levels are refused.

    Raises:
        RefusedError: it is no JSON.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"The body is no JSON: {error}.") from None
    if not is_shallow(value, MAX_DEPTH):
        raise RefusedError(f"The body is nested deeper than {MAX_DEPTH} levels.")
    return value


async def read_json(request: Request, parse: Callable[[object], T]) -> T:
    """The body, parsed from JSON and then by `parse`, in a thread: a list of pages can take a second."""
    raw = await request.body()
    return await asyncio.to_thread(lambda: parse(parse_json(raw)))


def _written(value: object) -> object:
    if not (isinstance(value, str) and _TIME.match(value)):  # pydantic takes seconds since 1970 as well
        raise ValueError("expected a time with its zone, such as 2026-01-15T10:30:00Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_written), Field(ge=_FIRST, lt=_LAST)]
"""A time in a body or a query."""


class Given(BaseModel):
    """Base of bodies that are plain models: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


def parse_given(model: type[Body], raw: object) -> Body:
    """A body as its model.

    Raises:
        RefusedError: a key is unknown or missing, or a value is wrong; `field` is its dotted path.
    """
    try:
        return model.model_validate(raw)
    except PydanticError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RefusedError(f"{field or 'body'}: {first['msg'].removeprefix('Value error, ')}", field) from None


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model with its parts written out, so that it can stand anywhere in another document."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def written_out(value: Any) -> Any:
        if isinstance(value, dict):
            if isinstance(name := value.get("$ref"), str):
                return written_out(parts[name.rsplit("/", 1)[-1]])
            return {key: written_out(inner) for key, inner in value.items()}
        return [written_out(inner) for inner in value] if isinstance(value, list) else value

    written: dict[str, Any] = written_out(schema)
    return written
