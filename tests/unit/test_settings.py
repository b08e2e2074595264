"""A wrong setting names itself and what it expects, and gives no secret away."""

import os
from collections.abc import Iterator

import pytest

from automation.errors import SettingError
from automation.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in tuple(os.environ):
        if name.startswith("AUTOMATION_") or name in ("MAX_CONCURRENT_WORKFLOWS", "WORKFLOW_TIMEOUT"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("AUTO_SAVE_INTERVAL", raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def _complaint() -> str:
    with pytest.raises(SettingError) as caught:
        get_settings()
    return str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "expectation"),
    [
        ("AUTOMATION_API_PORT", "eighty", "integer"),
        ("AUTOMATION_API_PORT", "70000", "65535"),
        ("AUTOMATION_PREFECT_PORT", "0", "greater than or equal to 1"),
        ("MAX_CONCURRENT_WORKFLOWS", "0", "greater than 0"),
        ("WORKFLOW_TIMEOUT", "soon", "number"),
        ("AUTO_SAVE_INTERVAL", "-1", "greater than or equal to 0"),
        ("AUTOMATION_RETENTION_DAYS", "1.5", "integer"),
        ("AUTO_SAVE_INTERVAL", "inf", "finite"),
        ("AUTOMATION_LEASE_SECONDS", "inf", "finite"),
        ("AUTOMATION_LANGUAGE", "de", "expected fr or en"),
        ("AUTOMATION_WATCH_ROOTS", "/srv/in:out", "expected absolute folders, separated by ':'"),
    ],
)
def test_a_wrong_setting_names_itself_its_value_and_what_it_expects(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expectation: str
) -> None:
    monkeypatch.setenv(variable, value)
    complaint = _complaint()
    assert complaint.startswith(f"{variable}={value!r}: ")
    assert expectation in complaint


_POSTGRESQL = "expected postgresql://user:password@host:port/database"
_APPRISE = "expected Apprise URLs (service://…), separated by blanks"
_NEIGHBOUR = "expected http://host[:port][/path] or https://…, without query and credentials"
_MAIL_SERVER = "expected smtp://[user:password@]host[:port] or smtps://…"


@pytest.mark.parametrize(
    ("variable", "value", "expectation"),
    [
        ("AUTOMATION_DATABASE_URL", "mysql://me:hunter2@db/automation", _POSTGRESQL),
        ("AUTOMATION_DATABASE_URL", "postgresql://me:hunter2@db:port/automation", _POSTGRESQL),
        ("AUTOMATION_PREFECT_DATABASE_URL", "postgresql://me:hunter2@db:99999/prefect", _POSTGRESQL),
        ("AUTOMATION_SMTP_URL", "http://me:hunter2@host", _MAIL_SERVER),
        ("AUTOMATION_SMTP_URL", "smtp://me:hunter2@host:port", _MAIL_SERVER),
        ("AUTOMATION_SMTP_URL", "smtp://", _MAIL_SERVER),
        ("AUTOMATION_NOTIFY_URLS", "slack://hunter2 hunter2", _APPRISE),
        ("AUTOMATION_ADMIN_NOTIFY_URLS", "slack://hunter2 hunter2", _APPRISE),
        ("RUNTIME_URL", "ftp://host", _NEIGHBOUR),
        ("INSIGHTS_URL", "https://me:hunter2@host/api", _NEIGHBOUR),
        ("FOUNDATION_URL", "https://host/api?key=hunter2", _NEIGHBOUR),
        ("AUTOMATION_STUDIO_WEBHOOK_SECRET", "plain", "expected whsec_ and base64, as Standard Webhooks says"),
        ("AUTOMATION_STUDIO_CALLBACK_SECRET", "plain", "expected whsec_ and base64, as Standard Webhooks says"),
    ],
)
def test_a_wrong_secret_names_itself_and_stays_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expectation: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert _complaint() == f"{variable}: {expectation}"


def test_every_wrong_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_API_PORT", "x")
    monkeypatch.setenv("AUTOMATION_SITES_PORT", "y")
    assert [line.partition("=")[0] for line in _complaint().splitlines()] == [
        "AUTOMATION_API_PORT",
        "AUTOMATION_SITES_PORT",
    ]


def test_secrets_do_not_appear_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_API_KEY", "hunter2")
    monkeypatch.setenv("AUTOMATION_STUDIO_WEBHOOK_SECRET", "whsec_hunter2=")
    monkeypatch.setenv("AUTOMATION_SMTP_URL", "smtp://me:hunter2@host")
    assert "hunter2" not in repr(Settings())
    assert "hunter2" not in str(Settings())


def test_the_platforms_own_variables_keep_their_names_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = get_settings()
    assert settings.max_concurrent_workflows == 10
    assert settings.workflow_timeout == 1800
    assert settings.auto_save_interval == 30
    monkeypatch.setenv("AUTO_SAVE_INTERVAL", "0.5")
    assert Settings().auto_save_interval == 0.5


def test_a_neighbours_address_may_end_in_a_slash_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_URL", "https://runtime.example/api/")
    monkeypatch.setenv("INSIGHTS_URL", "")
    settings = get_settings()
    assert (settings.runtime_url, settings.insights_url) == ("https://runtime.example/api", None)
