"""CALL_INTEGRATION to a mail server, to PostgreSQL and to what Apprise knows."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from automation.errors import DatabaseError, NetworkError, StepError, ValidationError
from automation.integrations import sql
from automation.integrations.proofs import LoginCredentials
from automation.integrations.types import SqlConfig, parse_config, parse_credentials
from automation.settings import Settings
from tests.integration.integrations.conftest import OPEN, Call, Make
from tests.integration.mailbox import Mailbox
from tests.integration.web import Web, response

PASSWORD = "hunter2hunter2"
LOGIN = {"username": "crm", "password": PASSWORD}

pytestmark = pytest.mark.usefixtures("prefect_api")


async def failure(call: Call, *arguments: Any, **config: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await call(*arguments, **config)
    assert PASSWORD not in str(caught.value)
    return caught.value


# --- smtp -----------------------------------------------------------------------------------------------------


async def test_a_mail_is_sent_after_a_login_over_tls(mailbox: Mailbox, make: Make, call: Call) -> None:
    local = Settings(egress_allow=("127.0.0.1", "::1"))
    await make("smtp", {"host": "localhost", "port": mailbox.port, "sender": "Shop <shop@example.com>"}, LOGIN)

    result = await call("smtp", to="ada@example.com", subject="Hi\r\nBcc: x@y.zz", text="Été", settings=local)
    again = await call("smtp", to="ada@example.com", text="Été", settings=local)

    assert [one.rcpt_tos for one in mailbox.inbox.envelopes] == [["ada@example.com"]] * 2
    message = mailbox.inbox.messages[0]
    assert (message["From"], message["Bcc"], message["Message-ID"]) == (
        "Shop <shop@example.com>", None, result["message_id"]
    )  # fmt: skip
    assert again["message_id"] == result["message_id"]
    assert mailbox.inbox.logins == [(b"crm", PASSWORD.encode())] * 2
    assert PASSWORD not in str(result)


async def test_a_server_without_starttls_gets_no_password(plain_mailbox: Mailbox, make: Make, call: Call) -> None:
    config = {"host": "127.0.0.1", "port": plain_mailbox.port, "sender": "shop@example.com"}
    await make("smtp", config, LOGIN)

    error = await failure(call, "smtp", to="ada@example.com", text="x")

    assert "STARTTLS" in str(error)
    assert plain_mailbox.inbox.logins == []


@pytest.mark.parametrize(
    ("verdict", "kind"), [("550 no such hunter2hunter2", ValidationError), ("451 later", NetworkError)]
)
async def test_a_server_that_refuses_a_mail_says_whether_for_good(
    plain_mailbox: Mailbox, make: Make, call: Call, verdict: str, kind: type[StepError]
) -> None:
    plain_mailbox.inbox.verdict = verdict
    config = {"host": "127.0.0.1", "port": plain_mailbox.port, "sender": "shop@example.com"}
    await make("smtp", config | {"auth": "none", "security": "none"})

    assert type(await failure_of(call, kind)) is kind


async def failure_of(call: Call, kind: type[StepError]) -> StepError:
    with pytest.raises(kind) as caught:
        await call("smtp", to="ada@example.com", text="x")
    return caught.value


async def test_a_wrong_password_is_refused_for_good(mailbox: Mailbox, make: Make, call: Call) -> None:
    config = {"host": "localhost", "port": mailbox.port, "sender": "shop@example.com"}
    await make("smtp", config, {"username": "u", "password": "wrong-password"})

    error = await failure(
        call, "smtp", to="ada@example.com", text="x", settings=Settings(egress_allow=("127.0.0.1", "::1"))
    )

    assert type(error) is ValidationError
    assert "535" in str(error)
    assert "wrong-password" not in str(error)


@pytest.mark.parametrize("to", ["", "nobody", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com"])
async def test_what_is_not_one_address_gets_no_mail(plain_mailbox: Mailbox, make: Make, call: Call, to: str) -> None:
    config = {"host": "127.0.0.1", "port": plain_mailbox.port, "sender": "shop@example.com"}
    await make("smtp", config | {"auth": "none", "security": "none"})
    assert type(await failure(call, "smtp", to=to, text="x")) is ValidationError
    assert plain_mailbox.inbox.envelopes == []


# --- sql ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def contacts(crm: int, make: Make) -> dict[str, Any]:
    """The integrations `reads` and `writes` of one database."""
    config = {"host": "127.0.0.1", "port": crm, "database": "crm", "sslmode": "disable"}
    await make("sql", config, LOGIN, name="reads")
    await make("sql", config | {"writes": True}, LOGIN, name="writes")
    return config


@pytest.mark.usefixtures("contacts")
async def test_a_statement_answers_rows_as_json(call: Call) -> None:
    query = "SELECT id, name, since, owed, more FROM contacts WHERE since > :since OR name = :name ORDER BY id"
    result = await call("reads", statement=query, parameters={"since": "2026-01-01T00:00:00Z", "name": "Été"})

    assert result["rows"] == [
        {"id": 1, "name": "Ada", "since": "2026-01-15T10:30:00+00:00", "owed": "12.50", "more": {"a": [1]}},
        {"id": 2, "name": "Été", "since": None, "owed": "0", "more": None},
    ]
    assert (result["row_count"], result["truncated"]) == (2, False)
    assert result["duration_ms"] > 0


@pytest.mark.usefixtures("contacts")
async def test_a_parameter_is_a_value_and_never_a_part_of_the_statement(call: Call) -> None:
    evil = "Ada'; DROP TABLE contacts; --"
    result = await call(
        "writes", statement="SELECT count(*) AS n FROM contacts WHERE name = :n", parameters={"n": evil}
    )
    assert result["rows"] == [{"n": 0}]
    assert (await call("reads", statement="SELECT count(*) AS n FROM contacts"))["rows"] == [{"n": 2}]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM contacts",
        "INSERT INTO contacts (id) VALUES (9) RETURNING id",
        "WITH gone AS (DELETE FROM contacts RETURNING id) SELECT * FROM gone",
        "DROP TABLE contacts",
        "SELECT 1; DELETE FROM contacts",
        "COMMIT; DELETE FROM contacts",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM contacts; END $$",
        "DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); DELETE FROM contacts; END $$",
        "DO $$ BEGIN COMMIT; DELETE FROM contacts; END $$",
        "CREATE TABLE more (id int)",
    ],
)
@pytest.mark.usefixtures("contacts")
async def test_nothing_is_written_unless_the_config_says_so(call: Call, statement: str) -> None:
    assert type(await failure(call, "reads", statement=statement)) is ValidationError
    assert (await call("reads", statement="SELECT count(*) AS n FROM contacts"))["rows"] == [{"n": 2}]


@pytest.mark.usefixtures("contacts")
async def test_a_statement_that_may_write_is_one_statement_and_all_or_nothing(call: Call) -> None:
    insert = "INSERT INTO contacts (id, name) VALUES (:id, :idempotency_key) RETURNING name"
    done = await call("writes", statement=insert, parameters={"id": 3})
    updated = await call("writes", statement="UPDATE contacts SET owed = :owed", parameters={"owed": 1.5})
    refused = await failure(call, "writes", statement="SELECT 1; DELETE FROM contacts")
    again = await failure(call, "writes", statement=insert, parameters={"id": 3})

    assert done["rows"][0]["name"].endswith(":call")
    assert (updated["rows"], updated["row_count"]) == ([], 3)
    assert type(refused) is type(again) is ValidationError
    assert "duplicate key" in str(again)
    assert (await call("reads", statement="SELECT sum(owed) AS s FROM contacts"))["rows"] == [{"s": "4.5"}]


@pytest.mark.usefixtures("contacts")
async def test_a_thousand_rows_are_kept_and_a_megabyte(call: Call) -> None:
    result = await call("reads", statement="SELECT n FROM generate_series(1, 1001) AS n")
    assert (len(result["rows"]), result["row_count"], result["truncated"]) == (1000, 1000, True)
    error = await failure(call, "reads", statement="SELECT repeat('x', 1100000) AS x")
    assert "Ask for less" in str(error)


@pytest.mark.parametrize(
    ("statement", "parameters", "kind", "said"),
    [
        ("SELEC 1", {}, ValidationError, "syntax error"),
        ("SELECT * FROM nothing", {}, ValidationError, "does not exist"),
        ("SELECT :a", {}, ValidationError, "parameters: a stands"),
        ("SELECT CAST(:a AS int)", {"a": "x"}, ValidationError, "invalid input for query argument"),
        ("SELECT CAST(:a AS date)", {"a": "x"}, ValidationError, "is no date"),
        ("SELECT 1 / 0", {}, ValidationError, "division by zero"),
    ],
)
@pytest.mark.usefixtures("contacts")
async def test_what_the_database_refuses_is_told(
    call: Call, statement: str, parameters: Any, kind: type[StepError], said: str
) -> None:
    error = await failure(call, "reads", statement=statement, parameters=parameters)
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(60)", "COPY contacts FROM STDIN"])
async def test_a_statement_that_takes_too_long_is_stopped(contacts: dict[str, Any], statement: str) -> None:
    config = parse_config("sql", contacts | {"writes": True})
    login = parse_credentials(config, LOGIN)
    assert isinstance(config, SqlConfig)
    assert isinstance(login, LoginCredentials)
    with pytest.raises((DatabaseError, ValidationError)):
        await sql.execute(OPEN, config, login, statement, {}, seconds=0.5)


async def test_a_database_that_is_not_there_is_a_network_error(make: Make, call: Call, contacts: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        await make("sql", contacts | {"port": taken.getsockname()[1]}, LOGIN, name="gone")
        assert type(await failure(call, "gone", statement="SELECT 1")) is NetworkError
    await make("sql", contacts | {"database": "other"}, LOGIN, name="other")
    assert type(await failure(call, "other", statement="SELECT 1")) is ValidationError
    await make("sql", contacts | {"sslmode": "verify-full"}, LOGIN, name="tls")
    assert type(await failure(call, "tls", statement="SELECT 1")) is NetworkError  # it has no TLS, so no password goes


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "0x7f.1"]
)
async def test_a_host_that_leads_inside_is_not_connected_to(make: Make, call: Call, host: str) -> None:
    await make("sql", {"host": host, "database": "crm"}, LOGIN)
    await make("smtp", {"host": host, "sender": "shop@example.com"}, LOGIN)
    for error in (
        await failure(call, "sql", statement="SELECT 1", settings=Settings()),
        await failure(call, "smtp", to="ada@example.com", text="x", settings=Settings()),
    ):
        assert type(error) is ValidationError
        assert "AUTOMATION_EGRESS_ALLOW" in str(error)


# --- apprise --------------------------------------------------------------------------------------------------


async def test_a_message_goes_to_the_apprise_url(web: Web, make: Make, call: Call) -> None:
    web.answers["/hook/t0k3n-t0k3n"] = response(200)
    await make("apprise", {}, {"url": f"json://127.0.0.1:{web.port}/hook/t0k3n-t0k3n"})

    result = await call("apprise", title="Done", body="Été & co")

    told = orjson.loads(web.seen[0].body)
    assert (told["title"], told["message"]) == ("Done", "Été & co")
    assert "t0k3n" not in str(result)


async def test_a_service_that_refuses_is_a_network_error_that_tells_no_url(web: Web, make: Make, call: Call) -> None:
    web.answers["/t0k3n-t0k3n"] = response(500, b"t0k3n-t0k3n")
    await make("apprise", {}, {"url": f"json://127.0.0.1:{web.port}/t0k3n-t0k3n"})
    error = await failure(call, "apprise", body="x")
    assert type(error) is NetworkError
    assert "t0k3n" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1:{port}/", "json://localhost:{port}/", "json://2130706433:{port}/", "xml://127.0.0.1:{port}/",
        "mailto://u:p@example.com?smtp=127.0.0.1&port={port}&to=a@example.com",
        "matrix://u:p@127.0.0.1:{port}/room", "ntfy://127.0.0.1:{port}/topic", "gotify://127.0.0.1:{port}/aaaaaaaaaaaaaaa",
        "syslog://localhost", "rsyslog://127.0.0.1:{port}", "irc://127.0.0.1:{port}/channel",
    ],
)  # fmt: skip
async def test_an_apprise_url_does_not_lead_inside(web: Web, make: Make, call: Call, url: str) -> None:
    await make("apprise", {}, {"url": url.format(port=web.port)})
    error = await failure(call, "apprise", body="x", settings=Settings())
    assert isinstance(error, ValidationError | NetworkError), error
    assert web.connections == 0


async def test_a_redirect_of_a_service_that_is_allowed_by_name_does_not_lead_inside(
    web: Web, make: Make, call: Call
) -> None:
    other = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.2", 0)
    web.answers["/"] = response(307, location=f"http://127.0.0.2:{other.sockets[0].getsockname()[1]}/")
    await make("apprise", {}, {"url": f"json://localhost:{web.port}/"})

    error = await failure(call, "apprise", body="x", settings=Settings(egress_allow=("localhost", "127.0.0.1")))

    assert type(error) is ValidationError
    assert web.connections == 1
    other.close()


async def test_an_apprise_url_reads_no_file_of_this_machine(web: Web, make: Make, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "secret.json"
    file.write_text('{"text": "of this machine"}')
    await make("apprise", {}, {"url": f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template={file}"})

    error = await failure(call, "apprise", body="x")

    assert type(error) is ValidationError
    assert "file of this machine" in str(error)
