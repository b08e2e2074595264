"""The retry table: which error is tried again, how often and when. The defaults are the error classes' own.

    AUTOMATION_RETRY_CONFIG='{"NETWORK_ERROR": {"max_retries": 8, "backoff": 10, "factor": 2, "jitter": 0.2}}'

A workflow's `config.retry` and a step's say the same for themselves; a rule without a class (`{"max_retries": 1}`)
is for every error that is tried again at all.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic import ValidationError as PydanticError

from automation.errors import LONGEST_BACKOFF, RefusedError, RetryPolicy, UnknownError, codes

Rules = Mapping[str, "Rule"]


class Rule(BaseModel):
    """What differs from the rule below it; None leaves that as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_retries: int | None = Field(None, ge=0, le=100)
    backoff: float | None = Field(None, ge=0, le=LONGEST_BACKOFF, allow_inf_nan=False)
    factor: float | None = Field(None, ge=1, le=10, allow_inf_nan=False)
    jitter: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)

    def on(self, policy: RetryPolicy) -> RetryPolicy:
        """`policy` with what this rule says in place of its own."""
        return RetryPolicy(
            policy.max_retries if self.max_retries is None else self.max_retries,
            policy.backoff if self.backoff is None else self.backoff,
            policy.factor if self.factor is None else self.factor,
            policy.jitter if self.jitter is None else self.jitter,
        )


class _Table(BaseModel):
    """A table of rules, or one rule for all."""

    model_config = ConfigDict(extra="forbid")

    rules: dict[str, Rule]

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value["rules"] if isinstance(value.get("rules"), dict) else ():
            if name not in (*codes(), _ALL):
                known = ", ".join(sorted(codes()))
                raise ValueError(f"{name!r} is no class of errors; known are {known}")
        return value


_ALL = ""
_RULE = Rule.model_fields


def parse_rules(given: object, field: str) -> dict[str, Rule]:
    """The rules of a `retry`: by class of error, or one for all of them (under "").

    Raises:
        RefusedError: an unknown class or key, or a value out of bounds; `field` is the dotted path.
    """
    if not isinstance(given, dict):
        raise RefusedError(f"{field}: expected an object, got {type(given).__name__}", field)
    flat = bool(given) and set(given) <= set(_RULE)
    try:
        return _Table.model_validate({"rules": {_ALL: given} if flat else given}).rules
    except PydanticError as error:
        first = error.errors()[0]
        path = ".".join((field, *(str(part) for part in first["loc"][1:] if part != _ALL)))
        raise RefusedError(f"{path}: {first['msg'].removeprefix('Value error, ')}", path) from None


def policy(code: str, *tables: Rules) -> RetryPolicy:
    """The policy of an error code, by the tables of the installation, the workflow and the step, in this order."""
    found = codes().get(code, UnknownError).policy
    never = found.max_retries == 0
    for table in tables:
        if _ALL in table and not never:
            found = table[_ALL].on(found)
        if code in table:
            found = table[code].on(found)
    return found
