"""A project on a disk of its own, and the steps that publish it, called as the engine calls them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from automation.database import Database
from automation.runtime.store import Stamp, delete_page, save_page, version_of
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepContext, StepType
from tasks.assets import optimize_assets
from tasks.pages import compile_pages
from tasks.runtime import deploy_to_runtime, generate_structure, verify_release

Json = dict[str, Any]
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def component(kind: str, name: str, **config: Any) -> Json:
    position = {"x": 0, "y": 0, "width": 12, "height": 1}
    return {"id": name, "type": kind, "position": position, "config": config}


def page(page_id: str, route: str, *components: Json, **more: Any) -> Json:
    document = {"components": list(components)}
    return {"id": page_id, "name": page_id.title(), "route": route, "config": document, **more}


@dataclass
class Project:
    """A project and an execution on it; `execution()` begins another one."""

    home: Path
    keep_releases: int = 10
    execution_id: UUID = field(default_factory=uuid4)
    results: dict[str, Result] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    project_id: str = "shop"

    @property
    def root(self) -> Path:
        return self.home / "runtime"

    @property
    def folder(self) -> Path:
        return self.root / self.project_id

    @property
    def build(self) -> Path:
        return self.folder / "builds" / str(self.execution_id) / "site"

    def execution(self) -> "Project":
        return Project(self.home, self.keep_releases, project_id=self.project_id)

    def save(self, *pages: Json, minute: int = 0) -> None:
        for one in pages:
            at = Stamp(NOON + timedelta(minutes=minute), version_of(one))
            save_page(self.root, self.project_id, one, at, backup_previous=True)

    def delete(self, page_id: str) -> None:
        delete_page(self.root, self.project_id, page_id, Stamp(NOON + timedelta(days=1)))

    def context(self, identifier: str, data: Json, minute: int = 0) -> StepContext:
        return StepContext(
            execution_id=self.execution_id,
            workflow_id=UUID(int=1),
            workflow_name="Any",
            identifier=identifier,
            project=ProjectInfo(id=self.project_id, name="Shop"),
            trigger_type="ON_PUBLISH",
            event_type="project.published",
            trigger_data=data,
            occurred_at=NOON + timedelta(minutes=minute),
            results=self.results,
            attempt=1,
            settings=Settings(home=self.home, keep_releases=self.keep_releases),
            database=cast(Database, None),
        )

    async def run(self, kind: StepType, data: Json | None = None, minute: int = 0, **config: Any) -> Result:
        """The step's result; it counts for the steps after it, as the engine does it."""
        identifier = kind.name.lower().replace("_", "-")
        step = self.context(identifier, data or {}, minute)
        result = await kind.function(step, kind.parse(config))
        self.lines += [f"{line.level} {line.message}" for line in step.lines]
        self.results[identifier] = result
        return result

    async def take_back(self, kind: StepType, data: Json | None = None, minute: int = 0, **config: Any) -> Result:
        """What the step's rollback answers."""
        assert kind.rollback is not None
        step = self.context(kind.name.lower().replace("_", "-"), data or {}, minute)
        result = await kind.rollback(step, kind.parse(config))
        self.lines += [f"{line.level} {line.message}" for line in step.lines]
        return result

    async def publish(self, **deploy: Any) -> Result:
        """The generate workflow, in an execution of its own."""
        other = self.execution()
        await other.run(compile_pages)
        await other.run(generate_structure)
        await other.run(optimize_assets)
        return await other.run(deploy_to_runtime, **deploy)

    async def operate(self, action: str, **wish: Any) -> Result:
        """The publish workflow, in an execution of its own."""
        other = self.execution()
        await other.run(verify_release, {"input": {"action": action, **wish}})
        return await other.run(deploy_to_runtime)
