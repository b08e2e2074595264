"""What proves who calls a system outside: the `credentials` of an integration, in the shape of each kind.

They go into a block of Prefect's, and are never shown. No error repeats a value.
"""

import base64
import json
import re
from html import escape
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from automation.errors import RefusedError
from automation.triggers.signatures import check_secret

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRINTED = re.compile(r"[\x20-\x7e]+")
_NO_BLANKS = re.compile(r"[\x21-\x7e]+")
_SHORTEST = 4  # characters of a secret that is looked for in texts; shorter ones stand in any


def _plain(value: str) -> str:
    if CONTROL.search(value):
        raise ValueError("has control characters")
    return value


def _secret(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not pattern.fullmatch(value.get_secret_value()):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _password(value: SecretStr) -> SecretStr:
    if CONTROL.search(value.get_secret_value()):
        raise ValueError("has control characters")
    if not value.get_secret_value().strip("*"):  # Prefect would take them for a password that it is not to change
        raise ValueError("consists of asterisks, as what hides a password does; give the password itself")
    return value


Plain = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=4096), AfterValidator(_password)]
HeaderSecret = Annotated[
    SecretStr, Field(max_length=4096), _secret(_PRINTED, "expected ASCII characters that are printed")
]
Token = Annotated[
    SecretStr, Field(max_length=4096), _secret(_NO_BLANKS, "expected ASCII characters that are printed, without blanks")
]


class Part(BaseModel):
    """A part of a request; an unknown key is an error, and no error repeats a value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Credentials(Part):
    """What proves who calls."""

    def spellings(self) -> list[str]:
        """Each secret in every spelling in which an answer or an error could repeat it, the longest first."""
        plain = [one.get_secret_value() for _, one in self if isinstance(one, SecretStr)]
        known = {spelled for one in plain for spelled in _spelled(one)} | {*self._encoded()}
        return sorted((one for one in known if len(one) >= _SHORTEST), key=len, reverse=True)

    def _encoded(self) -> list[str]:
        return []


def _spelled(secret: str) -> list[str]:
    """As it is, in a URL, in JSON and in HTML."""
    in_json = (json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    return [secret, quote(secret), quote(secret, safe=""), *(one[1:-1] for one in in_json), escape(secret)]


class BearerCredentials(Credentials):
    """Of `auth: bearer`."""

    token: Token


class LoginCredentials(Credentials):
    """A name and a password, of a mail server or a database."""

    username: Plain
    password: Password

    def _encoded(self) -> list[str]:
        password = self.password.get_secret_value().encode()
        plain = b"\0" + self.username.encode() + b"\0" + password  # SASL's PLAIN
        return [base64.b64encode(one).decode() for one in (password, plain)]


class BasicCredentials(LoginCredentials):
    """Of `auth: basic`."""

    username: Annotated[Plain, Field(pattern="^[^:]*$")]

    @property
    def basic(self) -> str:
        """As HTTP has them."""
        return base64.b64encode(f"{self.username}:{self.password.get_secret_value()}".encode()).decode()

    def _encoded(self) -> list[str]:
        return [self.basic, *super()._encoded()]


class HeaderCredentials(Credentials):
    """Of `auth: header`: the header's value."""

    value: HeaderSecret


class WebhookCredentials(Credentials):
    """What a webhook is signed with: `whsec_…`."""

    secret: SecretStr

    @field_validator("secret")
    @classmethod
    def _can_sign(cls, value: SecretStr) -> SecretStr:
        try:
            check_secret("standard", value.get_secret_value(), "secret")
        except RefusedError as error:
            raise ValueError(str(error).removeprefix("secret: ")) from None
        return value


class AppriseCredentials(Credentials):
    """An Apprise URL, which names service, account and token in one."""

    url: Annotated[SecretStr, Field(max_length=4000), _secret(re.compile(r"[a-z0-9+]+://[\x21-\x7e]+"), "no URL")]
