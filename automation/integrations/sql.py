"""PostgreSQL databases that people name: one statement, its parameters bound, read-only unless the config says else.

The statement goes through PostgreSQL's extended protocol, which takes one only, and into a transaction that is
read-only and has begun to read, so that the statement cannot make it one that writes.
"""

import base64
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from automation import egress
from automation.errors import DatabaseError, NetworkError, StepError, ValidationError
from automation.integrations.proofs import LoginCredentials
from automation.integrations.types import SqlConfig
from automation.models import Json
from automation.settings import Settings
from automation.steps import one_line

MAX_ROWS = 1000
MAX_BYTES = 1024 * 1024
"""Of an answer's rows, as JSON: they become a column of our own record."""

TIMEOUT = 30.0

_PASSING = ("08", "40", "53", "55", "57", "58")
"""SQLSTATE classes of what passes by itself: connection, deadlock, resources, locks, operator, system."""

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|(?P<tag>\$[A-Za-z_]*\$).*?(?P=tag)|::|(?<!\w):(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)

_READ: Mapping[str, Callable[[str], Any]] = {
    "timestamptz": datetime.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "numeric": Decimal,
}


async def execute(
    settings: Settings,
    config: SqlConfig,
    credentials: LoginCredentials,
    statement: str,
    parameters: Mapping[str, Any],
    *,
    seconds: float = TIMEOUT,
) -> Json:
    """Run a statement whose parameters are written `:name`.

    Returns:
        {"rows": [{column: value}], "row_count", "truncated"}: at most `MAX_ROWS` rows. Times are ISO 8601, numerics
        and what JSON does not know are texts, binary is base64.

    Raises:
        ValidationError: the address, the login or the statement is refused, or the answer is too large.
        NetworkError: the database cannot be reached.
        DatabaseError: it refused for now: a deadlock, no room, too slow.
    """
    query, names = _positional(statement)
    if missing := [name for name in names if name not in parameters]:
        raise ValidationError(f"parameters: {', '.join(missing)} stands in the statement and is not given")
    async with _connected(settings, config, credentials, seconds) as connection:
        try:
            async with connection.transaction(readonly=not config.writes):
                limit = str(int(seconds * 1000))
                # the first read of the transaction: from here on it cannot be made one that writes
                await connection.execute(
                    "SELECT set_config('statement_timeout', $1, true), set_config('timezone', 'UTC', true)", limit
                )
                return await _answer(connection, query, [(name, parameters[name]) for name in names])
        except asyncpg.PostgresError as error:
            raise _as_step_error(error) from None
        except (asyncpg.InterfaceError, ValueError, OverflowError) as error:
            raise ValidationError(f"The statement cannot be run so: {one_line(str(error))[:500]}") from None


def _positional(statement: str) -> tuple[str, Sequence[str]]:
    """`… :name … :name` as `… $1 … $1`, and the names in their order; what is quoted or a comment stays as it is."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match["name"]
        if not name:
            return match[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _TOKEN.sub(number, statement), names


async def _answer(connection: Any, query: str, parameters: Sequence[tuple[str, Any]]) -> Json:
    prepared = await connection.prepare(query)
    values = [
        _bound(name, value, type_.name)
        for (name, value), type_ in zip(parameters, prepared.get_parameters(), strict=True)
    ]
    columns = prepared.get_attributes()
    if not columns:
        await prepared.fetch(*values)
        return {"rows": [], "row_count": _count(prepared.get_statusmsg()), "truncated": False}
    cursor = await prepared.cursor(*values)
    found = await cursor.fetch(MAX_ROWS + 1)
    kinds = [column.type.name for column in columns]
    names = [column.name for column in columns]
    rows = [
        {name: _plain(value, kind) for name, value, kind in zip(names, record, kinds, strict=True)}
        for record in found[:MAX_ROWS]
    ]
    if (size := len(orjson.dumps(rows))) > MAX_BYTES:
        raise ValidationError(f"The rows have {size} bytes as JSON; at most {MAX_BYTES} are kept. Ask for less.")
    return {"rows": rows, "row_count": len(rows), "truncated": len(found) > MAX_ROWS}


def _count(status: str) -> int:
    """`INSERT 0 3` → 3"""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def _bound(name: str, value: Any, kind: str) -> Any:
    """A value of JSON as the type that the statement has in its place."""
    try:
        if kind in ("json", "jsonb") and not isinstance(value, str):
            return None if value is None else orjson.dumps(value).decode()
        if kind in _READ and isinstance(value, str | int | float) and not isinstance(value, bool):
            return _READ[kind](str(value))
    except (ValueError, ArithmeticError):
        raise ValidationError(f"parameters.{name}: {str(value)[:100]!r} is no {kind}") from None
    return value


def _plain(value: Any, kind: str) -> Any:
    """A value as JSON has it."""
    if kind in ("json", "jsonb") and isinstance(value, str):
        return orjson.loads(value)
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [_plain(one, "") for one in value]
    return str(value)


def _as_step_error(error: asyncpg.PostgresError) -> StepError:
    state = error.sqlstate or ""
    said = one_line(f"PostgreSQL refused: {error} ({state})")[:1000]
    return DatabaseError(said) if state.startswith(_PASSING) else ValidationError(said)


# --- connecting -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _connected(
    settings: Settings, config: SqlConfig, credentials: LoginCredentials, seconds: float
) -> AsyncIterator[Any]:
    [address, *_] = await egress.permitted_addresses(settings, config.host, config.port)
    try:
        connection = await asyncpg.connect(
            host=str(address),
            port=config.port,
            user=credentials.username,
            password=credentials.password.get_secret_value(),
            database=config.database,
            ssl=_tls(config) or False,
            timeout=min(seconds, egress.CONNECT_TIMEOUT),
            command_timeout=seconds,
            statement_cache_size=0,
            server_settings={"application_name": "automation"},
        )
    except asyncpg.PostgresError as error:
        raise _as_step_error(error) from None
    except ssl.SSLCertVerificationError as error:
        raise ValidationError(
            f"{config.host}: its certificate is not accepted: {error.verify_message}. "
            "`sslmode: require` encrypts without looking at it."
        ) from None
    except (OSError, asyncpg.InterfaceError) as error:
        raise NetworkError(f"{config.host}, port {config.port}: no connection: {_told(error)}") from None
    try:
        yield connection
        await connection.close(timeout=1)
    except TimeoutError:
        raise DatabaseError(f"{config.host} took longer than {seconds:g} s.") from None
    except OSError as error:
        raise NetworkError(f"{config.host}: the connection was lost: {_told(error)}") from None
    finally:
        connection.terminate()


def _told(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__)[:300]


class _Named(ssl.SSLContext):
    """Checks a certificate against the host's name, although its address is what is connected to."""

    name = ""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **options | {"server_hostname": self.name})


def _tls(config: SqlConfig) -> ssl.SSLContext | None:
    if config.sslmode == "disable":
        return None
    context = _Named(ssl.PROTOCOL_TLS_CLIENT)
    context.name = config.host
    if config.sslmode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
    return context
