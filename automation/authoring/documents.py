"""A workflow as a YAML document, for files that are kept in git, and back.

The same workflow is always the same text: keys and entries have one order, what is as it is when left out is left
out, and nothing that changes by itself (ids of rows, times) is there. Nor are secrets. A reader knows no tags and no
aliases, takes dates for text, and refuses a key that is there twice. No SQL.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import yaml

from automation.authoring.triggers import is_system
from automation.errors import RefusedError
from automation.models import Json, Trigger, Workflow, WorkflowStep

SUFFIX = ".yaml"

_ALWAYS = {"name", "kind", "project_id", "trigger_type", "identifier", "step_type", "order", "steps", "triggers"}
_LEFT_OUT: Json = {
    "description": "",
    "is_active": True,
    "config": {},
    "depends_on": [],
    "conditions": {},
    "is_required": True,
    "event_type": "",
}
_WORKFLOW = ("name", "kind", "project_id", "description", "trigger_type", "is_active", "config")
_TRIGGER = ("trigger_type", "event_type", "conditions", "is_active", "config")
_STEP = ("identifier", "step_type", "order", "depends_on", "conditions", "is_required", "config")

_SLUG_LENGTH = 60


def file_name(workflow: Workflow) -> str:
    """`tell-the-team-6f1c39b0.yaml`: the name, for people, and what tells it from others of that name."""
    plain = unicodedata.normalize("NFKD", workflow.name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_LENGTH].strip("-")
    return f"{slug or 'workflow'}-{_short(workflow)}{SUFFIX}"


def _short(workflow: Workflow) -> str:
    if not is_system(workflow):
        return workflow.id.hex[:8]
    # it is the only one of its kind and project, in every installation
    return hashlib.sha256(f"{workflow.kind}:{workflow.project_id or ''}".encode()).hexdigest()[:8]


# --- writing --------------------------------------------------------------------------------------------------


def to_text(workflow: Workflow) -> str:
    """A workflow with its steps and triggers, as read from the database, as a document."""
    document: Json = {} if is_system(workflow) else {"id": str(workflow.id)}
    document |= _entries(workflow, _WORKFLOW)
    document["triggers"] = sorted((_entries(one, _TRIGGER) for one in workflow.triggers), key=_dump)
    steps = sorted(workflow.steps, key=lambda step: (step.order, step.identifier))
    document["steps"] = [_entries(one, _STEP) for one in steps]
    return _dump(document)


def _entries(row: Workflow | Trigger | WorkflowStep, names: tuple[str, ...]) -> Json:
    values = {name: getattr(row, name) for name in names}
    return {name: _sorted(value) for name, value in values.items() if name in _ALWAYS or value != _LEFT_OUT[name]}


def _sorted(value: Any) -> Any:
    """A value whose objects have their keys in order: PostgreSQL keeps them in one of its own."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines stands there line by line; what cannot be printed is spelled out."""
    printable = all(one.isprintable() for one in text.split("\n"))
    style = '"' if not printable else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text


# --- reading --------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """What JSON knows, and nothing else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as in PyYAML)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            what = "aliases" if isinstance(event, yaml.AliasEvent) else "tags"
            raise _fault(f"{what} are not known here", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in made:
                problem = f"the key {key!r} is there twice" if isinstance(key, str) else f"the key {key!r} is no text"
                raise _fault(problem, key_node.start_mark)
            made[key] = self.construct_object(value_node, deep=True)
        return made


def _fault(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


# Each is part of what PyYAML takes for the same, so that what it writes without quotes is read as it was.
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+)\.[0-9]*(?:[eE][-+][0-9]+)?$", "-+0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def parse_text(text: str) -> Json:
    """What a document says, as the body of a request.

    Raises:
        RefusedError: it is no YAML, or no object; the text says where.
    """
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 (a safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise RefusedError(f"line {mark.line + 1 if mark else '?'}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise RefusedError(f"no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RefusedError("nested too deeply") from None
    if not isinstance(document, dict):
        raise RefusedError(f"expected an object, got {type(document).__name__}")
    if "secret" in document or any("secret" in one for one in _objects(document.get("triggers"))):
        raise RefusedError("triggers: a file has no secrets; the API gives a webhook its secret", "triggers")
    return document


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def id_of(document: Json) -> UUID | None:
    """The id that a document gives its workflow; None of a system workflow, which is known by kind and project.

    Raises:
        RefusedError: it is no id, or there is none.
    """
    given = document.get("id")
    if given is None:
        return None
    try:
        return UUID(given)
    except (ValueError, TypeError, AttributeError):
        raise RefusedError(f"id: {given!r} is no id", "id") from None
