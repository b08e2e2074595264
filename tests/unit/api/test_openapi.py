"""The OpenAPI document: whoever builds a client or a form of it finds all that they need."""

import re
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from prefect.client.orchestration import get_client

from automation.api import Services, create_app
from automation.api.openapi import methods_at
from automation.api.problems import MEDIA_TYPE
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def app() -> FastAPI:
    database = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    return create_app(Services(settings=Settings(), database=database, prefect=get_client(), teller=Teller(0)))


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> list[Operation]:
    return [(method, path, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def contents(operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every body of an operation: where it stands, and what is said of it."""
    sent = operation.get("requestBody", {}).get("content", {})
    answered = [
        (status, content)
        for status, response in operation["responses"].items()
        for content in response.get("content", {}).values()
    ]
    return [*(("body", content) for content in sent.values()), *answered]


def test_every_body_and_every_answer_has_an_example_that_suits_its_schema(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    faults = []
    for method, path, operation in operations:
        for where, content in contents(operation):
            schema = {**content["schema"], "components": document["components"]}
            errors = [one.message for one in Draft202012Validator(schema).iter_errors(content["example"])]
            faults += [f"{method} {path} {where}: {error}" for error in errors]
    assert faults == []


def test_every_operation_has_a_name_of_its_own_a_tag_that_is_explained_and_a_description(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    names = Counter(one["operationId"] for _, _, one in operations)
    explained = {one["name"] for one in document["tags"] if one["description"]}

    assert [name for name, count in names.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    assert {tag for _, _, one in operations for tag in one["tags"]} == explained
    assert [one["operationId"] for _, _, one in operations if not one.get("description")] == []


def test_every_error_is_a_problem(operations: list[Operation]) -> None:
    for _, path, operation in operations:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {MEDIA_TYPE}, (path, status)
                problem = response["content"][MEDIA_TYPE]["example"]
                assert problem["status"] == int(status)
                assert problem["type"].startswith("/problems/")


def test_whoever_needs_a_key_is_told_what_happens_without_one(operations: list[Operation]) -> None:
    open_doors = {"/health/live/", "/health/ready/", "/webhooks/studio/", "/webhooks/{trigger_id}/"}
    for _, path, operation in operations:
        needs_key = path.removeprefix("/api/automation") not in open_doors
        assert ("security" in operation) == needs_key, path
        assert not needs_key or {"401", "403", "429"} <= set(operation["responses"]), path


def test_every_path_ends_in_a_slash(operations: list[Operation]) -> None:
    assert [path for _, path, _ in operations if not path.endswith("/")] == []


def test_every_list_has_pages(document: dict[str, Any], operations: list[Operation]) -> None:
    """But those that are short by nature: steps of a workflow, items of a step, types."""
    short = {"get_steps", "get_items", "get_step_types", "get_trigger_types"}
    lists, paged = set(), set()
    for _, _, operation in operations:
        answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        if "Listing" in str(answer.get("schema")):
            lists.add(operation["operationId"])
        if {"cursor", "page_size"} <= {one["name"] for one in operation.get("parameters", ())}:
            paged.add(operation["operationId"])
    assert lists - paged == short
    assert paged <= lists


def test_whatever_starts_something_takes_an_idempotency_key(operations: list[Operation]) -> None:
    harmless = {
        "acknowledge_alert", "add_step", "approve_execution", "cancel_execution", "cancel_executions",
        "create_api_key", "create_integration", "create_silence", "create_trigger", "create_workflow",
        "receive_webhook", "silence_alert", "studio_webhook", "test_integration", "test_trigger",
    }  # fmt: skip
    taking = {
        operation["operationId"]
        for _, _, operation in operations
        if "idempotency-key" in {one["name"] for one in operation.get("parameters", ())}
    }
    assert taking == {one["operationId"] for method, _, one in operations if method == "post"} - harmless


def test_whatever_is_changed_takes_an_etag(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        if method in ("put", "patch") or (
            method == "delete" and re.search("(workflow|step|trigger|integration)s", path)
        ):
            assert "if-match" in {one["name"] for one in operation["parameters"]}, path
            assert "412" in operation["responses"], path


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("workflows/", ["GET", "POST"]),
        ("workflows/0b9d/", ["DELETE", "GET", "PATCH", "PUT"]),
        ("webhooks/studio/", ["POST"]),
        ("executions/retry/", ["POST"]),
        ("nothing/", []),
    ],
)
def test_the_methods_of_a_path_are_known(app: FastAPI, path: str, methods: list[str]) -> None:
    assert methods_at(app, f"/api/automation/{path}") == methods
