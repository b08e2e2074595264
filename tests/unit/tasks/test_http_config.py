"""What the configs of HTTP_REQUEST and SEND_WEBHOOK may be, and that docs/steps.md has all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from automation.errors import ValidationError
from automation.steps import StepType
from tasks.http import http_request, send_webhook

SECRET = "whsec_" + "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
URL = "https://api.example/"
TABLE = Path(__file__).parents[3] / "docs" / "steps.md"


@pytest.mark.parametrize(
    "config",
    [
        {"expect_status": 204},
        {"expect_status": "200-299"},
        {"expect_status": [200, "404", "500-599"]},
        {"json": None},
        {"json": {"json_": 1}},
        {"form": {"a": ["b", 1]}, "query": {"a": [1, 2.5, True, "x"]}},
        {"headers": {"X-Count": 7}},
        {"max_bytes": 1},
    ],
)
def test_a_request_may_be(config: dict[str, Any]) -> None:
    http_request.parse({"url": URL} | config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "url: Field required"),
        ({"url": URL, "method": "CONNECT"}, "method"),
        ({"url": URL, "json_": 1}, "json_: Extra inputs"),
        ({"url": URL, "json": 1, "body": "x"}, "only one"),
        ({"url": URL, "json": None, "form": {}}, "only one"),
        ({"url": URL, "expect_status": []}, "numbers and ranges"),
        ({"url": URL, "expect_status": 99}, "numbers and ranges"),
        ({"url": URL, "expect_status": ["2xx"]}, "numbers and ranges"),
        ({"url": URL, "max_bytes": 6_000_000}, "less than or equal to 5242880"),
        ({"url": URL, "headers": {"X": {"a": 1}}}, "headers.X"),
    ],
)
def test_a_request_that_cannot_be_names_what_is_wrong(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        http_request.parse(config)


@pytest.mark.parametrize("secret", ["hunter2", "whsec_hunter2", "whsec_", "", f"{SECRET}é", ["hunter2"]])
def test_a_secret_that_cannot_sign_is_refused_and_not_repeated(secret: object) -> None:
    with pytest.raises(ValidationError, match="secret") as caught:
        send_webhook.parse({"url": URL, "secret": secret})
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_not_shown_with_its_config() -> None:
    config = send_webhook.parse({"url": URL, "secret": SECRET})
    assert SECRET[6:] not in f"{config!r} {config} {config.model_dump_json()}"


@pytest.mark.parametrize("step_type", [http_request, send_webhook], ids=lambda one: one.name)
def test_the_table_has_every_key_with_its_default(step_type: StepType) -> None:
    section = re.search(rf"^\| \*\*{step_type.name}\*\*.*\n(\| \|.*\n)*", TABLE.read_text(), re.MULTILINE)
    assert section is not None
    keys = dict(re.findall(r"\| `(\w+)` \| (.+?) \|", section.group()))
    fields = step_type.config_model.model_fields.items()
    expected = {field.alias or name: _shown(field.get_default(call_default_factory=True)) for name, field in fields}
    assert keys == expected | ({"payload": "the trigger's data"} if step_type is send_webhook else {})


def _shown(default: object) -> str:
    if default is PydanticUndefined:
        return "needed"
    if default is None:
        return "none"
    return f"`{json.dumps(default)}`"
