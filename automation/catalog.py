"""The step types and default workflows that this installation knows, found by entry points.

Groups: `automation.steps` (modules whose `StepType` objects count) and `automation.workflows`
(`WorkflowDefinition` objects). A package that somebody else installs adds its own in the same way.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Literal

from automation.errors import ValidationError
from automation.models import Json, Trigger, Workflow, WorkflowStep
from automation.steps import StepType


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """A step of a default workflow. `order` is its position when it is not given."""

    type: StepType
    config: Json = field(default_factory=dict)
    order: int | None = None
    depends_on: tuple[str, ...] = ()
    is_required: bool = True

    @property
    def identifier(self) -> str:
        return slug(self.type.name)


@dataclass(frozen=True, slots=True)
class WorkflowDefinition:
    """A kind of workflow: what `project.created` writes for a project, what exists once for the platform, or
    the kind of those that people define.

    Attributes:
        kind: the name of its flow, deployment and work queue.
        name: may contain `{project}`.
        key: dotted path in the event's data of what executions must not overlap on (`page.id`).
        rare: its runs start through Prefect's event trigger; the dispatcher only catches what that lost.
        also_on: event types that start it beside `trigger_type`.
        run_modes: whether its executions get a flow run each (`single`), or are carried by batch runs (its flow
            then takes `batch`). The first is the default, the others a workflow's `config.run_mode` may ask for.
        interval_setting: the setting with the least seconds between two executions of one key.
        flushes: kinds whose waiting executions of the same project must be done first.
        scope: whether every project gets one, the platform has one, or people write their own.
    """

    kind: str
    name: str
    description: str
    trigger_type: str
    steps: tuple[StepDefinition, ...]
    key: str | None = None
    rare: bool = False
    flushes: tuple[str, ...] = ()
    scope: Literal["project", "platform", "none"] = "project"
    interval_setting: str | None = None
    trigger_config: Json = field(default_factory=dict)
    also_on: tuple[str, ...] = ()
    run_modes: tuple[Literal["single", "batch"], ...] = ("single",)

    def rows(self, project_id: str | None, project_name: str) -> Workflow:
        """The workflow with its steps and trigger, as rows to insert."""
        return Workflow(
            name=self.name.format(project=project_name or project_id)[:200],
            description=self.description,
            project_id=project_id,
            kind=self.kind,
            trigger_type=self.trigger_type,
            config={},
            steps=[
                WorkflowStep(
                    identifier=one.identifier,
                    step_type=one.type.name,
                    order=one.order if one.order is not None else position,
                    depends_on=list(one.depends_on),
                    config=dict(one.config),
                    conditions={},
                    is_required=one.is_required,
                )
                for position, one in enumerate(self.steps, start=1)
            ],
            triggers=[
                Trigger(project_id=project_id, trigger_type=self.trigger_type, config=dict(self.trigger_config)),
                *(Trigger(project_id=project_id, trigger_type="EVENT", event_type=one) for one in self.also_on),
            ],
        )


def slug(name: str) -> str:
    """`SAVE_TO_RUNTIME` → `save-to-runtime`."""
    return name.lower().replace("_", "-")


# Names that the platform's description uses for the same thing.
ALIASES = {
    "NOTIFY_USER": "SEND_NOTIFICATION",
    "VALIDATE_PAGES": "VALIDATE_PAGE",
    "GENERATE_FILES": "GENERATE_STRUCTURE",
}


@lru_cache
def step_types() -> dict[str, StepType]:
    """Every known step type by name."""
    found: dict[str, StepType] = {}
    for entry in entry_points(group="automation.steps"):
        module = entry.load()
        found |= {one.name: one for one in vars(module).values() if isinstance(one, StepType)}
    return found


def step_type(name: str) -> StepType:
    """The step type of that name or alias.

    Raises:
        ValidationError: no installed package has it.
    """
    types = step_types()
    alias = ALIASES.get(name) or next((mine for mine, other in ALIASES.items() if other == name), name)
    try:
        return types.get(name) or types[alias]
    except KeyError:
        raise ValidationError(f"Step type {name!r} is not known; known are {', '.join(sorted(types))}.") from None


@lru_cache
def definitions() -> dict[str, WorkflowDefinition]:
    """Every default workflow by kind."""
    return {entry.name: entry.load() for entry in entry_points(group="automation.workflows")}
