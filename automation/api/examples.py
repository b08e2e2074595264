"""Examples for the OpenAPI document: of each body that is sent, and of each answer.

An answer's example is made of its schema and of the words below, so that a new field has one too; a body's is written
out, as only then it says what it is for.
"""

from typing import Any

from automation.models import Json

_ID = "0b9d7c52-4a6e-4f0e-9d0c-6f1f0a3f7f10"
_AT = "2026-01-15T10:30:00Z"
_PAGE = {"id": "page-123", "name": "Accueil", "route": "/", "config": {"layout": "grid", "components": []}}
_EVENT = {
    "id": "evt-8f3a",
    "type": "page.updated",
    "timestamp": _AT,
    "data": {"project_id": "project-456", "user_id": "user-789", "page": _PAGE},
}
_STEP = {"identifier": "fetch", "step_type": "HTTP_REQUEST", "config": {"url": "https://shop.example.com/orders"}}
_TRIGGER = {
    "trigger_type": "EVENT",
    "event_type": "order.paid",
    "conditions": {"field": "data.amount", "operator": ">=", "value": 100},
    "config": {"throttle": {"limit": 10, "per_seconds": 60}},
}
_WORKFLOW = {
    "name": "Large orders",
    "project_id": "project-456",
    "steps": [_STEP, {"step_type": "SEND_NOTIFICATION", "is_required": False}],
    "triggers": [_TRIGGER],
}

BODIES: dict[str, Any] = {
    "acknowledge_alert": {"by": "Ada", "comment": "The disk is being exchanged."},
    "add_step": _STEP,
    "approve_execution": {"approve": True, "comment": "Looks good.", "by": "Ada"},
    "cancel_executions": {"status": "PENDING", "project_id": "project-456", "dry_run": True},
    "change_secret": {},
    "change_step": {"is_required": False},
    "change_trigger": {"is_active": False},
    "change_workflow": {"is_active": False},
    "create_silence": {"rule": "slow-executions", "seconds": 3600, "comment": "The load test of today."},
    "create_trigger": {"workflow_id": _ID, **_TRIGGER},
    "create_workflow": _WORKFLOW,
    "execute_step": {"input": {"page": _PAGE}},
    "execute_workflow": {"input": {"action": "rollback"}},
    "publish_project": {"data": {"user_id": "user-789"}},
    "receive_webhook": {"order": 4711, "paid": True},
    "redrive_dead_letters": {"project_id": "project-456", "error_code": "NETWORK_ERROR"},
    "replace_step": _STEP,
    "replace_trigger": _TRIGGER,
    "replace_workflow": _WORKFLOW,
    "replay_trigger": {"since": _AT, "until": "2026-01-15T11:30:00Z", "dry_run": True},
    "retry_execution": {"from_step": "save-to-runtime", "reason": "Runtime is back."},
    "retry_executions": {"status": "FAILED", "project_id": "project-456", "reason": "Runtime is back."},
    "send_events": _EVENT,
    "silence_alert": {"seconds": 28800, "comment": "The disk is being exchanged."},
    "studio_webhook": _EVENT,
    "test_trigger": {"event": _EVENT},
}
"""By operation; those of the others stand beside their schemas."""

_WORDS: Json = {
    "action": "update",
    "actor": "studio",
    "acknowledged_by": "studio: Ada",
    "aliases": ["NOTIFY_USER"],
    "asked_by": "studio",
    "comment": "Runtime is back.",
    "config": {},
    "conditions": {},
    "created_by": "api",
    "definition": {"name": "Large orders", "config": {}, "steps": []},
    "depends_on": [],
    "description": "Tells us of large orders.",
    "detail": "Workflow 0b9d7c52-4a6e-4f0e-9d0c-6f1f0a3f7f10 does not exist.",
    "environments": {"production": "20260115T103000-0b9d7c52"},
    "error_code": "NETWORK_ERROR",
    "error_message": "shop.example.com cannot be reached.",
    "event_id": "evt-8f3a",
    "event_type": "order.paid",
    "failed_step": "fetch",
    "from_step": "",
    "identifier": "fetch",
    "kind": "custom-workflow",
    "level": "INFO",
    "live": {"production": "20260115T103000-0b9d7c52"},
    "message": "HTTP_REQUEST completed",
    "metadata": {},
    "name": "Large orders",
    "neighbour": "insights",
    "next": None,
    "object_id": _ID,
    "object_type": "workflow",
    "only_step": "",
    "operator": ">=",
    "outcome": "fired",
    "owner_email": "ada@example.com",
    "owner_id": "user-789",
    "path": "conditions",
    "previous": None,
    "project_id": "project-456",
    "reason": "",
    "request_id": "4c1a0f6f5d9e4d0f8a51d1d0a8a1b2c3",
    "resolved_by": "studio: Ada",
    "result": {"status": 200},
    "rule": "repeated-failures",
    "scopes": ["read"],
    "severity": "CRITICAL",
    "status": "COMPLETED",
    "step": "fetch",
    "step_type": "HTTP_REQUEST",
    "trigger_type": "EVENT",
    "type": "order.paid",
    "workflow_name": "Large orders",
}
_OF_FORMAT = {"uuid": _ID, "date-time": _AT, "uri": "https://shop.example.com/"}


def example_of(schema: Json, parts: Json, name: str = "") -> Any:
    """A value that suits a schema of an answer.

    Args:
        parts: `components.schemas`, to which `$ref` leads.
        name: of the field, by which a word is found.
    """
    if reference := schema.get("$ref"):
        return example_of(parts[reference.rsplit("/", 1)[-1]], parts, name)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema:
        return schema["const"]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        if name in _WORDS and _WORDS[name] is None:
            return None
        return example_of(options[0], parts, name)
    return _of_type(schema, parts, name)


def _of_type(schema: Json, parts: Json, name: str) -> Any:
    type_ = schema.get("type")
    if type_ == "object" and "properties" in schema:
        return {key: example_of(inner, parts, key) for key, inner in schema["properties"].items()}
    if format_ := _OF_FORMAT.get(schema.get("format", "")):
        return format_
    if name in _WORDS and _suits(_WORDS[name], type_):
        return _WORDS[name]
    if type_ == "array":
        return [example_of(schema.get("items", {}), parts, name.removesuffix("s"))]
    fallbacks: Json = {"object": {}, "string": "", "integer": schema.get("minimum", 1), "number": 12.5, "boolean": True}
    return fallbacks.get(str(type_))


def _suits(word: Any, type_: Any) -> bool:
    kinds: dict[Any, type] = {"object": dict, "array": list, "string": str}
    return type_ in kinds and isinstance(word, kinds[type_])
