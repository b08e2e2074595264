"""What may stand in an integration's config and credentials."""

from typing import Any

import pytest

from automation.errors import RefusedError, ValidationError
from automation.integrations.types import HttpConfig, auth_headers, below, parse_config, parse_credentials

SECRET = "whsec_" + "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
HTTP = {"base_url": "https://crm.example/api"}
SMTP = {"host": "mail.example", "sender": "Shop <shop@example.com>"}
SQL = {"host": "db.example", "database": "crm"}


@pytest.mark.parametrize(
    ("type_", "config", "credentials"),
    [
        ("http", HTTP, None),
        ("http", HTTP | {"auth": "bearer"}, {"token": "t"}),
        ("http", HTTP | {"auth": "basic"}, {"username": "u", "password": "p"}),
        ("http", HTTP | {"auth": "header", "header": "X-Key"}, {"value": "v w"}),
        ("webhook", {"url": "https://crm.example/hook?a=1"}, {"secret": SECRET}),
        ("smtp", SMTP, {"username": "u", "password": "p"}),
        ("smtp", SMTP | {"auth": "none", "security": "none", "port": 25}, None),
        ("apprise", {}, {"url": "slack://T1/B1/C1/"}),
        ("sql", SQL, {"username": "u", "password": "Été"}),
        (
            "sql",
            SQL | {"writes": True, "sslmode": "require", "host": "2001:db8::1"},
            {"username": "u", "password": "p"},
        ),
    ],
)
def test_each_type_takes_what_it_needs(type_: str, config: dict[str, Any], credentials: dict[str, Any] | None) -> None:
    parsed = parse_config(type_, config)
    assert (parse_credentials(parsed, credentials) is None) == (parsed.credentials_model is None)


@pytest.mark.parametrize(
    ("type_", "config", "field"),
    [
        ("ftp", {}, "type"),
        ("http", {}, "config.base_url"),
        ("http", HTTP | {"baseurl": "x"}, "config.baseurl"),
        ("http", {"base_url": 5}, "config.base_url"),
        ("http", {"base_url": "ftp://crm.example"}, "config.base_url"),
        ("http", {"base_url": "https://u:p@crm.example"}, "config.base_url"),
        ("http", {"base_url": "https://crm.example/?key=1"}, "config.base_url"),
        ("http", {"base_url": "https://crm.example/#x"}, "config.base_url"),
        ("http", {"base_url": "https://"}, "config.base_url"),
        ("http", HTTP | {"auth": "digest"}, "config.auth"),
        ("http", HTTP | {"auth": "header"}, "config"),
        ("http", HTTP | {"header": "X-Key"}, "config"),
        ("http", HTTP | {"auth": "header", "header": "Host"}, "config"),
        ("http", HTTP | {"auth": "header", "header": "X:\r\nY"}, "config"),
        ("http", HTTP | {"probe_path": "../admin"}, "config"),
        ("http", HTTP | {"probe_path": "\0"}, "config"),
        ("webhook", {"url": "javascript:alert(1)"}, "config.url"),
        ("smtp", {"host": "mail.example"}, "config.sender"),
        ("smtp", SMTP | {"host": "mail.example\r\nX"}, "config.host"),
        ("smtp", SMTP | {"host": "http://mail.example"}, "config.host"),
        ("smtp", SMTP | {"port": "25"}, "config.port"),
        ("smtp", SMTP | {"port": 70000}, "config.port"),
        ("smtp", SMTP | {"sender": "nobody"}, "config.sender"),
        ("smtp", SMTP | {"security": "none"}, "config"),
        ("apprise", {"url": "slack://T1/B1/C1/"}, "config.url"),
        ("sql", SQL | {"database": "x\ny"}, "config.database"),
        ("sql", SQL | {"sslmode": "prefer"}, "config.sslmode"),
        ("sql", SQL | {"password": "hunter2"}, "config.password"),
    ],
)
def test_what_is_wrong_in_a_config_is_refused_by_its_place(type_: str, config: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_config(type_, config)
    assert caught.value.field == field or (field == "config" and caught.value.field.startswith("config"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "config", "credentials", "field"),
    [
        ("http", HTTP, {"token": "hunter2"}, "credentials"),
        ("http", HTTP | {"auth": "bearer"}, {}, "credentials.token"),
        ("http", HTTP | {"auth": "bearer"}, {"token": "hunter2 hunter2"}, "credentials.token"),
        ("http", HTTP | {"auth": "bearer"}, {"token": "hunter2\r\nX-Evil: 1"}, "credentials.token"),
        ("http", HTTP | {"auth": "bearer"}, {"token": ["hunter2"]}, "credentials.token"),
        ("http", HTTP | {"auth": "bearer"}, {"token": "t", "hunter": 2}, "credentials.hunter"),
        ("http", HTTP | {"auth": "basic"}, {"username": "u"}, "credentials.password"),
        ("http", HTTP | {"auth": "basic"}, {"username": "a:b", "password": "hunter2"}, "credentials.username"),
        ("http", HTTP | {"auth": "basic"}, {"username": "u", "password": "********"}, "credentials.password"),
        ("http", HTTP | {"auth": "header", "header": "X-Key"}, {"value": "hunter2\n"}, "credentials.value"),
        ("webhook", {"url": "https://a.example"}, {"secret": "hunter2"}, "credentials.secret"),
        ("apprise", {}, {"url": "hunter2"}, "credentials.url"),
        ("sql", SQL, {"username": "u", "password": "hunter2\0"}, "credentials.password"),
    ],
)
def test_what_is_wrong_in_credentials_is_refused_without_repeating_it(
    type_: str, config: dict[str, Any], credentials: dict[str, Any], field: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_credentials(parse_config(type_, config), credentials)
    assert caught.value.field == field
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


@pytest.mark.parametrize(
    ("change", "elsewhere"),
    [
        ({"probe_path": "status"}, False),
        ({"base_url": "https://crm.example/v2"}, False),
        ({"base_url": "https://CRM.example:443/api"}, False),
        ({"base_url": "https://crm.example:8443/api"}, True),
        ({"base_url": "http://crm.example/api"}, True),
        ({"base_url": "https://crm.example.evil.example/api"}, True),
        ({"auth": "header", "header": "X-Key"}, True),
    ],
)
def test_credentials_are_meant_for_one_destination(change: dict[str, Any], elsewhere: bool) -> None:
    before = parse_config("http", HTTP | {"auth": "bearer"})
    after = parse_config("http", HTTP | {"auth": "bearer"} | change)
    assert (before.destination != after.destination) == elsewhere


def test_weaker_encryption_is_another_destination() -> None:
    def destination(type_: str, **config: Any) -> str:
        return parse_config(type_, {"smtp": SMTP, "sql": SQL}[type_] | config).destination

    assert destination("smtp") != destination("smtp", security="tls")
    assert destination("sql") != destination("sql", sslmode="require")
    assert destination("sql") == destination("sql", writes=True)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("", "https://crm.example/api"),
        ("contacts", "https://crm.example/api/contacts"),
        ("/contacts/1?a=b&c", "https://crm.example/api/contacts/1?a=b&c"),
        ("?a=b", "https://crm.example/api?a=b"),
        ("//evil.example/x", "https://crm.example/api/evil.example/x"),
        ("@evil.example", "https://crm.example/api/@evil.example"),
        (":8080/x", "https://crm.example/api/:8080/x"),
        ("http://evil.example", "https://crm.example/api/http://evil.example"),
        ("a..b/...", "https://crm.example/api/a..b/..."),
        ("x?u=../..", "https://crm.example/api/x?u=../.."),
    ],
)
def test_a_path_is_added_to_the_base(path: str, url: str) -> None:
    assert below("https://crm.example/api", path) == url


@pytest.mark.parametrize(
    "path",
    [
        "..", "../x", "a/../../x", "%2e%2e/x", "a/%2E./x", "..%2fx", "a\\..\\x", "a%5c..%5cx", "..;/x", "./x", "x#y",
        "a\nb", "a%00b",
    ],
)  # fmt: skip
def test_a_path_that_leads_out_of_the_base_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="below the base URL"):
        below("https://crm.example/api", path)


def test_each_way_to_say_who_calls_makes_its_header() -> None:
    def headers(credentials: dict[str, Any], **auth: Any) -> dict[str, str]:
        config = parse_config("http", HTTP | auth)
        assert isinstance(config, HttpConfig)
        return auth_headers(config, parse_credentials(config, credentials))

    assert headers({"token": "t"}, auth="bearer") == {"authorization": "Bearer t"}
    assert headers({"username": "Aladdin", "password": "open sesame"}, auth="basic") == {
        "authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    }
    assert headers({"value": "v"}, auth="header", header="X-Key") == {"x-key": "v"}


def test_credentials_are_hidden_where_they_are_printed() -> None:
    config = parse_config("http", HTTP | {"auth": "basic"})
    credentials = parse_credentials(config, {"username": "u", "password": "hunter2"})
    assert "hunter2" not in f"{credentials!r} {credentials}"


def test_every_spelling_of_a_secret_is_known() -> None:
    config = parse_config("http", HTTP | {"auth": "basic"})
    credentials = parse_credentials(config, {"username": "u", "password": "hunter/2 x"})
    assert credentials is not None
    assert set(credentials.spellings()) >= {"hunter/2 x", "hunter/2%20x", "hunter%2F2%20x", "dTpodW50ZXIvMiB4"}
    quoted = parse_credentials(config, {"username": "u", "password": 'h"é&ter2'})
    assert quoted is not None
    assert set(quoted.spellings()) >= {r"h\"é&ter2", r"h\"\u00e9&ter2", "h&quot;é&amp;ter2"}
