"""Integrations over the API: written and shown, their credentials written only."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from httpx import Response
from prefect.client.orchestration import PrefectClient, get_client
from pydantic import SecretStr
from sqlalchemy import select

from automation.api import Services
from automation.database import Database
from automation.errors import NotFoundError
from automation.intake.telling import Teller
from automation.integrations import credentials
from automation.integrations.proofs import BearerCredentials
from automation.integrations.types import parse_config
from automation.models import AuditEntry, Integration, Json
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.web import Web, response, serving

TOKEN = "hunter2-token"
CONFIG: Json = {"base_url": "https://crm.example/api", "auth": "bearer"}
HTTP: Json = {
    "name": "crm", "type": "http", "project_id": "p1", "config": CONFIG, "credentials": {"token": TOKEN}
}  # fmt: skip


@pytest.fixture
async def api(postgres: Postgres, prefect_api: str, database: Database) -> AsyncIterator[Api]:
    settings = Settings(api_key=SecretStr(KEY), egress_allow=("127.0.0.1",))
    own = Database(postgres.url)
    async with get_client() as prefect, serve(Services(settings, own, prefect, Teller(0))) as api:
        yield api
    await own.close()


@pytest.fixture
async def away(postgres: Postgres, database: Database) -> AsyncIterator[Api]:
    """The API whose Prefect does not answer."""
    settings = Settings(api_key=SecretStr(KEY))
    own = Database(postgres.url)
    client = PrefectClient("http://127.0.0.1:9/api")
    async with serve(Services(settings, own, client, Teller(0))) as api:
        yield api
    await own.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as server:
        yield server


async def created(api: Api, **more: Any) -> Json:
    answer = await api.post("integrations/", HTTP | more)
    assert answer.status_code == 201, answer.text
    assert "hunter2" not in answer.text
    shown: Json = answer.json()
    return shown


async def token(api: Api, id: str) -> str:
    """What Prefect has of an integration that is shown so."""
    shown = (await api.get(f"integrations/{id}/")).json()
    found = await credentials.load(api.services.prefect, UUID(id), parse_config("http", shown["config"]))
    assert isinstance(found, BearerCredentials)
    return found.token.get_secret_value()


def field(answer: Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert "hunter2" not in answer.text
    return str(answer.json().get("field", ""))


async def test_an_integration_is_created_and_its_credentials_lie_in_prefect(api: Api) -> None:
    shown = await created(api)

    assert (shown["name"], shown["config"], shown["is_active"]) == ("crm", CONFIG, True)
    assert (shown["last_tested_at"], shown["last_test"]) == (None, {})
    assert "credentials" not in shown
    assert await token(api, shown["id"]) == TOKEN
    read = await api.get(f"integrations/{shown['id']}/")
    assert read.json() == shown
    assert read.headers["etag"]


async def test_the_list_is_narrowed_by_project_type_and_whether_it_is_active(api: Api) -> None:
    await created(api)
    await created(api, name="off", is_active=False)
    await created(api, project_id=None)
    config = {"host": "db.example", "database": "crm"}
    await created(api, project_id="p2", type="sql", config=config, credentials={"username": "u", "password": "p"})

    async def names(**filters: Any) -> list[tuple[str, str | None]]:
        rows = (await api.get("integrations/", **filters)).json()["results"]
        return [(row["name"], row["project_id"]) for row in rows]

    assert await names() == [("crm", "p2"), ("crm", None), ("off", "p1"), ("crm", "p1")]
    assert await names(project_id="p1") == [("off", "p1"), ("crm", "p1")]
    assert await names(type="sql") == [("crm", "p2")]
    assert await names(is_active=False) == [("off", "p1")]
    page = (await api.get("integrations/", page_size=3)).json()
    assert (len(page["results"]), len((await api.client.get(page["next"])).json()["results"])) == (3, 1)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x\0y"}, "name"),
        ({"type": "ftp"}, "type"),
        ({"project_id": "../p"}, "project_id"),
        ({"config": []}, "config"),
        ({"config": {"base_url": "https://a.example", "more": 1}}, "config.more"),
        ({"config": CONFIG | {"probe_path": "x\0"}}, "config"),
        ({"config": CONFIG | {"probe_path": "../x"}}, "config"),
        ({"credentials": None}, "credentials"),
        ({"credentials": {"token": "hunter2 x"}}, "credentials.token"),
        ({"credentials": {"token": "x", "more": "hunter2"}}, "credentials.more"),
        ({"secret": "hunter2"}, "secret"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_place(api: Api, change: Json, place: str) -> None:
    found = field(await api.post("integrations/", HTTP | change))
    assert found == place or found.startswith(f"{place}.")
    assert (await api.get("integrations/")).json()["results"] == []


async def test_a_name_is_taken_once_in_a_project(api: Api) -> None:
    await created(api)
    await created(api, project_id="p2")
    await created(api, project_id=None)
    for project_id in ("p1", None):
        assert field(await api.post("integrations/", HTTP | {"project_id": project_id}), 409) == ""


async def test_credentials_stay_when_a_change_leaves_them_out_and_are_replaced_when_it_has_them(api: Api) -> None:
    id = (await created(api))["id"]
    path = f"integrations/{id}/"

    renamed = await api.client.patch(path, json={"name": "other", "config": CONFIG | {"probe_path": "x"}})
    assert (renamed.status_code, renamed.json()["name"], await token(api, id)) == (200, "other", TOKEN)
    replaced = await api.client.put(path, json=HTTP | {"credentials": {"token": "hunter2-next"}})
    assert (replaced.status_code, replaced.json()["name"], await token(api, id)) == (200, "crm", "hunter2-next")
    assert "hunter2" not in renamed.text + replaced.text
    whole = (await api.get(path)).json()
    assert (await api.client.put(path, json=whole)).status_code == 200
    assert await token(api, id) == "hunter2-next"


async def test_whoever_changes_the_address_has_to_know_the_credentials(api: Api) -> None:
    path = f"integrations/{(await created(api))['id']}/"
    elsewhere = {"base_url": "https://evil.example/api", "auth": "bearer"}

    assert field(await api.client.patch(path, json={"config": elsewhere})) == "credentials"
    body = {key: value for key, value in HTTP.items() if key != "credentials"}
    assert field(await api.client.put(path, json=body | {"config": elsewhere})) == "credentials"

    assert (await api.get(path)).json()["config"] == CONFIG
    known = {"config": elsewhere, "credentials": {"token": "hunter2-next"}}
    assert (await api.client.patch(path, json=known)).status_code == 200


async def test_credentials_that_are_no_longer_needed_are_deleted(api: Api) -> None:
    id = (await created(api))["id"]
    open_ = {"base_url": "https://crm.example/api"}
    assert (await api.client.patch(f"integrations/{id}/", json={"config": open_})).status_code == 200
    with pytest.raises(NotFoundError):
        await credentials.load(api.services.prefect, UUID(id), parse_config("http", CONFIG))
    assert field(await api.client.patch(f"integrations/{id}/", json={"config": CONFIG})) == "credentials"


async def test_type_and_project_stay(api: Api) -> None:
    path = f"integrations/{(await created(api))['id']}/"
    assert field(await api.client.patch(path, json={"type": "webhook"})) == "type"
    assert field(await api.client.patch(path, json={"project_id": "p2"})) == "project_id"
    assert field(await api.client.patch(path, json={"project_id": None})) == "project_id"


async def test_of_two_who_change_it_at_once_the_second_is_told(api: Api) -> None:
    shown = await created(api)
    path = f"integrations/{shown['id']}/"
    seen = {"If-Match": (await api.get(path)).headers["etag"]}

    assert (await api.client.patch(path, json={"credentials": {"token": "b"}}, headers=seen)).status_code == 200
    assert (await api.client.patch(path, json={"name": "c"}, headers=seen)).status_code == 412
    assert (await api.client.delete(path, headers=seen)).status_code == 412
    assert (await token(api, shown["id"]), (await api.get(path)).json()["name"]) == ("b", "crm")


async def test_a_deleted_one_leaves_nothing(api: Api) -> None:
    id = (await created(api))["id"]
    assert (await api.client.delete(f"integrations/{id}/")).status_code == 204
    assert (await api.get(f"integrations/{id}/")).status_code == 404
    assert (await api.client.delete(f"integrations/{id}/")).status_code == 404
    assert (await api.post(f"integrations/{id}/test/")).status_code == 404
    with pytest.raises(NotFoundError):
        await credentials.load(api.services.prefect, UUID(id), parse_config("http", CONFIG))


async def test_a_test_answers_what_it_saw_and_remembers_it(api: Api, web: Web) -> None:
    web.answers["/ping"] = response(200, TOKEN.encode())
    shown = await created(api, config={"base_url": web.url(), "auth": "bearer", "probe_path": "ping"})
    path = f"integrations/{shown['id']}/"
    seen = (await api.get(path)).headers["etag"]

    answer = await api.post(f"{path}test/")

    assert answer.status_code == 200, answer.text
    assert (answer.json()["ok"], answer.json()["saw"]) == (True, "GET ping: 200")
    after = await api.get(path)
    assert after.json()["last_test"] == answer.json()
    assert after.json()["last_tested_at"] > shown["created_at"]
    assert after.json()["updated_at"] == shown["updated_at"]
    assert after.headers["etag"] == seen
    assert web.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_without_prefect_nothing_is_half_written(api: Api, away: Api) -> None:
    path = f"integrations/{(await created(api))['id']}/"

    answers = [
        await away.post("integrations/", HTTP | {"name": "other"}),
        await away.client.patch(path, json={"name": "x", "credentials": {"token": "hunter2-next"}}),
        await away.client.delete(path),
        await away.post(f"{path}test/"),
    ]

    for answer in answers:
        assert answer.status_code == 503
        assert "Prefect, which keeps the credentials" in answer.json()["detail"]
        assert "hunter2" not in answer.text
    [left] = (await api.get("integrations/")).json()["results"]
    assert (left["name"], await token(api, left["id"])) == ("crm", TOKEN)
    assert (await away.client.patch(path, json={"name": "y"})).status_code == 200  # needs nothing of Prefect


async def test_each_change_is_in_the_audit_without_its_secret(api: Api, web: Web) -> None:
    shown = await created(api, config={"base_url": web.url(), "auth": "bearer"})
    path = f"integrations/{shown['id']}/"
    await api.client.patch(path, json={"credentials": {"token": "hunter2-next"}})
    await api.client.patch(path, json={"name": "other"})
    await api.post(f"{path}test/")
    await api.client.delete(path)

    async with api.database.transaction() as session:
        rows = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
        assert (await session.scalars(select(Integration))).all() == []
    assert [(row.action, row.object_type, row.project_id) for row in rows] == [
        (action, "integration", "p1") for action in ("create", "update", "update", "test", "delete")
    ]
    assert [(row.after or {}).get("credentials") for row in rows] == [True, True, False, None, None]
    assert "hunter2" not in str([(row.before, row.after) for row in rows])
