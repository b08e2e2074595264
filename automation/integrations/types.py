"""The types of integrations: what may stand in the `config` of each, and which credentials go with it.

The config is ours, and shown to everybody who may read. The credentials are meant for one `destination`, which follows
from the config: were it changed, they would be sent elsewhere, so that whoever changes it has to know them.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Annotated, ClassVar, Literal, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic import ValidationError as PydanticError

from automation import egress
from automation.addresses import is_host_name, parse_address
from automation.errors import RefusedError, ValidationError
from automation.foundation.mail import is_address
from automation.intake.events import storable
from automation.integrations.proofs import (
    CONTROL,
    AppriseCredentials,
    BasicCredentials,
    BearerCredentials,
    Credentials,
    HeaderCredentials,
    LoginCredentials,
    Part,
    Plain,
    WebhookCredentials,
)
from automation.models import Json


def _url(value: str) -> str:
    try:
        egress.parse_url(value)
    except ValidationError as error:
        raise ValueError(str(error)) from None
    return value


def _host(value: str) -> str:
    try:
        parse_address(value)
    except ValueError:
        if not is_host_name(value.lower()):
            raise ValueError("expected the name or the address of a host") from None
    return value.lower()


Url = Annotated[str, Field(max_length=2000), AfterValidator(_url)]
Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]

P = TypeVar("P", bound=Part)


class Config(Part):
    """What is public of an integration."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def credentials_model(self) -> type[Credentials] | None:
        """What its credentials look like; None: it needs none."""

    @property
    @abstractmethod
    def destination(self) -> str:
        """Whom the credentials are meant for, and how they get there."""


class HttpConfig(Config):
    """An HTTP API: every path that is called is below `base_url`."""

    name = "http"

    base_url: Url
    auth: Literal["none", "bearer", "basic", "header"] = "none"
    header: str = Field("", max_length=100, description="With `auth: header`, its name.")
    probe_path: str = Field("", max_length=2000, description="What a test asks for by GET; else HEAD of `base_url`.")

    @field_validator("base_url")
    @classmethod
    def _is_a_base(cls, value: str) -> str:
        if "?" in value or "#" in value:
            raise ValueError("has no query and no fragment: paths are added to it")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "HttpConfig":
        if (self.auth == "header") != bool(self.header):
            raise ValueError("header: goes with auth 'header', and that with it")
        try:
            egress.checked_headers({self.header: ""} if self.header else {})
            below(self.base_url, self.probe_path)
        except ValidationError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def credentials_model(self) -> type[Credentials] | None:
        models: dict[str, type[Credentials]] = {
            "bearer": BearerCredentials, "basic": BasicCredentials, "header": HeaderCredentials
        }  # fmt: skip
        return models.get(self.auth)

    @property
    def destination(self) -> str:
        url = egress.parse_url(self.base_url)
        return f"{url.scheme}://{url.netloc.decode()} {self.auth} {self.header.lower()}".strip()


class WebhookConfig(Config):
    """Somebody who takes signed webhooks, as Standard Webhooks says."""

    name = "webhook"

    url: Url

    @property
    def credentials_model(self) -> type[Credentials]:
        return WebhookCredentials

    @property
    def destination(self) -> str:
        return self.url  # elsewhere, somebody else could collect messages that this receiver would believe


class SmtpConfig(Config):
    """A mail server. A password goes over TLS only."""

    name = "smtp"

    host: Host
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    auth: Literal["none", "login"] = "login"
    sender: Plain = Field(description="`address` or `Name <address>`.")

    @field_validator("sender")
    @classmethod
    def _has_an_address(cls, value: str) -> str:
        if not is_address(parseaddr(value)[1]):
            raise ValueError("expected an e-mail address, or `Name <address>`")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> "SmtpConfig":
        if self.auth == "login" and self.security == "none":
            raise ValueError("security: 'none' would send the password in the clear; use 'starttls' or 'tls'")
        return self

    @property
    def credentials_model(self) -> type[Credentials] | None:
        return LoginCredentials if self.auth == "login" else None

    @property
    def destination(self) -> str:
        return f"{self.host}:{self.port} {self.security}"


class AppriseConfig(Config):
    """Any service that Apprise knows. All of it is secret."""

    name = "apprise"

    @property
    def credentials_model(self) -> type[Credentials]:
        return AppriseCredentials

    @property
    def destination(self) -> str:
        return ""


class SqlConfig(Config):
    """A PostgreSQL database."""

    name = "sql"

    host: Host
    port: Port = 5432
    database: Plain
    sslmode: Literal["disable", "require", "verify-full"] = "verify-full"
    writes: bool = Field(False, description="Whether statements may change anything.")

    @property
    def credentials_model(self) -> type[Credentials]:
        return LoginCredentials

    @property
    def destination(self) -> str:
        return f"{self.host}:{self.port}/{self.database} {self.sslmode}"


CONFIGS: Mapping[str, type[Config]] = {
    model.name: model for model in (HttpConfig, WebhookConfig, SmtpConfig, AppriseConfig, SqlConfig)
}


def parse_config(type_: str, raw: Json) -> Config:
    """The config of an integration of that type.

    Raises:
        RefusedError: there is no such type, or a key is unknown or wrong; `field` is its dotted path.
    """
    if type_ not in CONFIGS:
        raise RefusedError(f"type: {type_[:50]!r} is not one of {', '.join(CONFIGS)}", "type")
    for key, value in raw.items():
        storable([key, value], "config")
    return _parsed(CONFIGS[type_], raw, "config")


def parse_credentials(config: Config, raw: Json | None) -> Credentials | None:
    """The credentials that go with a config; None: nothing was given, or it needs none.

    Raises:
        RefusedError: a key is unknown, missing or wrong, or none is needed; the text repeats no value.
    """
    model = config.credentials_model
    if raw is None:
        return None
    if model is None:
        raise RefusedError("credentials: this config needs none (auth is 'none'); leave them out", "credentials")
    return _parsed(model, raw, "credentials")


def _parsed(model: type[P], raw: Json, field: str) -> P:
    try:
        return model.model_validate(raw)
    except PydanticError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    path = ".".join((field, *map(str, fault["loc"])))
    said = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        said = f"not known here; known are {', '.join(model.model_fields) or 'no keys'}"
    raise RefusedError(f"{path}: {said}", path)


def below(base_url: str, path: str) -> str:
    """The URL of `path` below a base: whatever stands in it, it leads nowhere else.

    Raises:
        ValidationError: it would.
    """
    plain, mark, query = path.partition("?")
    steps = re.split(r"[/\\]", unquote(plain))
    if any(one.partition(";")[0] in (".", "..") for one in steps) or "#" in path or CONTROL.search(unquote(plain)):
        raise ValidationError("path: must stay below the base URL: no '.' or '..' in it, no '#', no control characters")
    joined = f"{base_url.rstrip('/')}/{plain.lstrip('/')}" if plain.strip("/") else base_url
    url, base = egress.parse_url(joined + mark + query), egress.parse_url(base_url)
    if (url.scheme, url.netloc) != (base.scheme, base.netloc):
        raise ValidationError("path: must stay below the base URL")
    return str(url)


def auth_headers(config: HttpConfig, credentials: Credentials | None) -> dict[str, str]:
    """The header that says who calls an HTTP API."""
    match credentials:
        case BearerCredentials():
            return {"authorization": f"Bearer {credentials.token.get_secret_value()}"}
        case BasicCredentials():
            return {"authorization": f"Basic {credentials.basic}"}
        case HeaderCredentials():
            return {config.header.lower(): credentials.value.get_secret_value()}
    return {}
