"""An installation's folder, its keys, and what its processes find in their environment."""

import base64
import os
import stat
import subprocess
from pathlib import Path

import pytest

from automation.errors import SettingError, UnavailableError
from automation.installation import environment, exports, prepare, require_database
from automation.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in tuple(os.environ):
        if name.startswith(("AUTOMATION_", "PREFECT_")) or name == "DO_NOT_TRACK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUTOMATION_HOME", str(tmp_path / "home"))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_keys_that_only_the_owner_reads(tmp_path: Path) -> None:
    installation = prepare(Settings())
    home = tmp_path / "home"
    made = {"api.key", "studio-webhook.secret", "studio-callback.secret", "alert-webhook.secret"}
    assert {_mode(home / name) for name in made} == {0o600}
    assert _mode(home) == 0o700
    assert (home / "api.key").read_text().strip() == installation.api_key
    assert len(base64.urlsafe_b64decode(installation.api_key + "=")) == 32
    for whole in (
        installation.studio_webhook_secret,
        installation.studio_callback_secret,
        installation.alert_webhook_secret,
    ):
        prefix, _, secret = whole.partition("_")
        assert prefix == "whsec"
        assert len(base64.b64decode(secret, validate=True)) == 32
    assert {path.name for path in home.iterdir() if path.is_file()} == made


def test_later_starts_keep_them(tmp_path: Path) -> None:
    first, second = prepare(Settings()), prepare(Settings())
    assert first == second


def test_two_installations_share_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(Settings())
    monkeypatch.setenv("AUTOMATION_HOME", str(tmp_path / "other"))
    second = prepare(Settings())
    assert first.api_key != second.api_key
    assert first.studio_webhook_secret != second.studio_webhook_secret
    assert first.studio_callback_secret != second.studio_callback_secret
    assert first.alert_webhook_secret != second.alert_webhook_secret


def test_keys_from_the_environment_win_and_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_API_KEY", "given")
    monkeypatch.setenv("AUTOMATION_STUDIO_WEBHOOK_SECRET", "whsec_Z2l2ZW4=")
    monkeypatch.setenv("AUTOMATION_STUDIO_CALLBACK_SECRET", "whsec_Z2l2ZW5vdXQ=")
    monkeypatch.setenv("AUTOMATION_ALERT_WEBHOOK_SECRET", "whsec_Z2l2ZW5vdXQ=")
    installation = prepare(Settings())
    assert installation.api_key == "given"
    assert installation.studio_webhook_secret == "whsec_Z2l2ZW4="
    assert [path for path in (tmp_path / "home").iterdir() if path.is_file()] == []


def test_no_secret_appears_when_an_installation_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_DATABASE_URL", "postgresql://me:hidden@db/automation")
    monkeypatch.setenv("AUTOMATION_PREFECT_DATABASE_URL", "postgresql://me:hidden@db/prefect")
    monkeypatch.setenv("AUTOMATION_API_KEY", "hidden")
    installation = prepare(Settings())
    for field in (
        "database_url", "prefect_database_url", "api_key", "studio_webhook_secret", "studio_callback_secret",
        "alert_webhook_secret",
    ):  # fmt: skip
        assert f"{field}=" not in repr(installation).replace(repr(installation.settings), "")


def test_an_empty_key_file_is_refused_rather_than_used(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api.key").touch()
    with pytest.raises(SettingError, match=r"api\.key: is empty"):
        prepare(Settings())


def test_a_home_that_cannot_be_made_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOMATION_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingError, match="AUTOMATION_HOME="):
        prepare(Settings())


def test_without_a_database_the_embedded_one_serves_both(tmp_path: Path) -> None:
    installation = prepare(Settings())
    assert installation.data_dir == tmp_path / "home" / "postgres"
    assert installation.own_prefect_server
    ours = environment(installation)
    assert ours["AUTOMATION_DATABASE_URL"].startswith("postgresql://postgres@/automation?host=/")
    assert ours["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://postgres@/prefect?")


def test_a_given_database_needs_one_for_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_DATABASE_URL", "postgresql://me@db/automation")
    with pytest.raises(SettingError, match="AUTOMATION_PREFECT_DATABASE_URL: expected postgresql://"):
        prepare(Settings())


def test_a_prefect_server_elsewhere_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_DATABASE_URL", "postgresql://me@db/automation")
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    installation = prepare(Settings())
    assert not installation.own_prefect_server
    assert installation.data_dir is None
    ours = environment(installation)
    assert ours["PREFECT_API_URL"] == "https://prefect.example/api"
    assert not [name for name in ours if name.startswith(("PREFECT_SERVER_DATABASE", "PREFECT_HOME"))]


def test_what_env_exported_does_not_turn_an_own_installation_into_a_foreign_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = prepare(Settings())
    for name, value in environment(before).items():
        monkeypatch.setenv(name, value)
    after = prepare(Settings())
    assert after.own_prefect_server
    assert after.data_dir == before.data_dir
    assert environment(after) == environment(before)


def test_prefect_understands_every_variable_as_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings as PrefectSettings

    monkeypatch.setenv("AUTOMATION_PREFECT_PORT", "4321")
    monkeypatch.setenv("AUTOMATION_RETENTION_DAYS", "12")
    installation = prepare(Settings())
    for name, value in environment(installation).items():
        monkeypatch.setenv(name, value)
    theirs = PrefectSettings()
    assert theirs.home == installation.home / "prefect"
    assert theirs.api.url == theirs.server.ui.api_url == "http://127.0.0.1:4321/api"
    assert theirs.server.api.port == 4321
    assert theirs.server.database.connection_url is not None
    assert "prefect" in theirs.server.database.connection_url.get_secret_value()
    assert theirs.server.ui.enabled
    assert not theirs.server.analytics_enabled
    assert not theirs.server.ephemeral.enabled
    assert theirs.server.services.db_vacuum.enabled_vacuum_types >= {"events", "flow_runs"}
    assert theirs.server.services.db_vacuum.retention_period.days == 12
    assert theirs.server.events.retention_period.days == 12
    assert theirs.server.concurrency.lease_storage.endswith("lease_storage.filesystem")
    assert theirs.server.services.cancellation_cleanup.cancelling_timeout_seconds == 3600


def _after(lines: str) -> dict[str, str]:
    """The environment of a shell that has run these lines."""
    shell = subprocess.run(["sh", "-c", f"{lines}\nenv -0"], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in shell.stdout.split("\0") if "=" in line)


def test_the_exports_are_shell_and_show_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_HOME", str(tmp_path / "it's a home"))
    installation = prepare(Settings())
    lines = exports(installation)
    assert installation.api_key not in lines
    assert installation.studio_webhook_secret not in lines
    assert installation.studio_callback_secret not in lines
    monkeypatch.delenv("AUTOMATION_HOME")
    assert environment(installation).items() <= _after(lines).items()


def test_the_exports_leave_the_users_own_password_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_DATABASE_URL", "postgresql://me:hidden@db/automation?sslmode=require")
    monkeypatch.setenv("AUTOMATION_PREFECT_DATABASE_URL", "postgres://me:hidden@db/prefect?sslmode=require")
    installation = prepare(Settings())
    lines = exports(installation)
    assert "hidden" not in lines
    assert environment(installation).items() <= _after(lines).items()


def test_a_command_that_needs_the_database_says_what_to_start() -> None:
    with pytest.raises(UnavailableError, match="start it with `automation up`"):
        require_database(prepare(Settings()))


# --- Prefect's own door ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "2001:db8::1", "prefect.example", ""])
def test_prefect_is_not_bound_elsewhere_than_on_loopback_without_a_password(host: str) -> None:
    with pytest.raises(SettingError, match=r"AUTOMATION_PREFECT_HOST=.*PREFECT_SERVER_API_AUTH_STRING"):
        prepare(Settings(prefect_host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_prefect_needs_none(host: str) -> None:
    assert environment(prepare(Settings(prefect_host=host)))["PREFECT_SERVER_API_HOST"] == host


def test_with_a_password_it_may_and_our_own_processes_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:hidden")

    installation = prepare(Settings(prefect_host="0.0.0.0"))

    env = environment(installation)
    assert env["PREFECT_API_AUTH_STRING"] == env["PREFECT_SERVER_API_AUTH_STRING"] == "admin:hidden"
    assert env["PREFECT_SERVER_API_HOST"] == "0.0.0.0"
    assert installation.prefect_api_url == "http://127.0.0.1:4200/api"
    lines = exports(installation)
    assert "hidden" not in lines
    said = subprocess.run(
        ["sh", "-c", f'{lines}\nprintf %s "$PREFECT_API_AUTH_STRING"'], check=True, capture_output=True, text=True
    )
    assert said.stdout == "admin:hidden"


def test_a_prefect_that_runs_elsewhere_is_bound_by_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")

    assert prepare(Settings(prefect_host="0.0.0.0")).prefect_api_url == "https://prefect.example/api"
