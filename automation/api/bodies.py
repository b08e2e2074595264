"""JSON bodies, parsed by hand: whatever arrives, the answer is a 422 that says what is wrong."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import Request

from automation.errors import RefusedError

T = TypeVar("T")


def parse_json(raw: bytes) -> object:
    """The value of a JSON text; NaN, bad UTF-8, lone surrogates and nesting over 1,024 levels are refused.

    Raises:
        RefusedError: it is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"The body is no JSON: {error}.") from None


async def read_json(request: Request, parse: Callable[[object], T]) -> T:
    """The body, parsed from JSON and then by `parse`, in a thread: a list of pages can take a second."""
    raw = await request.body()
    return await asyncio.to_thread(lambda: parse(parse_json(raw)))


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
