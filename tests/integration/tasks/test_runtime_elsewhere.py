"""RUNTIME_URL: pages are saved at Runtime, and releases go live there."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.runtime import releases, store
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepContext, StepType
from tasks.assets import optimize_assets
from tasks.pages import compile_pages, save_to_runtime, validate_page
from tasks.runtime import deploy_to_runtime, generate_structure, verify_release
from tests.integration.runtime import Runtime

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
Json = dict[str, Any]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    server = Runtime(tmp_path / "elsewhere")
    yield server
    server.go()


class Execution:
    """An execution whose steps are called as the engine calls them."""

    def __init__(self, home: Path, runtime: Runtime) -> None:
        self.settings = Settings(home=home, RUNTIME_URL=runtime.url)
        self.id = uuid4()
        self.results: dict[str, Result] = {}
        self.lines: list[str] = []

    async def run(
        self, kind: StepType, data: Json | None = None, *, event: str = "", minute: int = 0, **config: Any
    ) -> Result:
        step = self.context(kind, data, event, minute)
        result = await kind.function(step, kind.parse(config))
        assert isinstance(result, dict)
        self.results[step.identifier] = result
        self.lines += [line.message for line in step.lines]
        return result

    async def take_back(self, kind: StepType, data: Json | None = None, *, minute: int = 0, **config: Any) -> Result:
        assert kind.rollback is not None
        return await kind.rollback(self.context(kind, data, "", minute), kind.parse(config))

    def context(self, kind: StepType, data: Json | None, event: str, minute: int) -> StepContext:
        return StepContext(
            execution_id=self.id,
            workflow_id=UUID(int=1),
            workflow_name="Any",
            identifier=kind.name.lower().replace("_", "-"),
            project=ProjectInfo("my shop"),
            trigger_type="ANY",
            event_type=event,
            trigger_data=data or {},
            occurred_at=NOON + timedelta(minutes=minute),
            results=self.results,
            attempt=1,
            settings=self.settings,
            database=cast(Database, None),
        )

    async def build(self) -> None:
        for kind in (compile_pages, generate_structure, optimize_assets):
            await self.run(kind)

    async def publish(self) -> Result:
        await self.build()
        return await self.run(deploy_to_runtime)


@pytest.fixture
def make(tmp_path: Path, runtime: Runtime) -> Any:
    return lambda: Execution(tmp_path / "home", runtime)


def page(text: str = "one", **more: Any) -> Json:
    position = {"x": 0, "y": 0, "width": 12, "height": 1}
    component = {"id": "t", "type": "Text", "position": position, "config": {"text": text}}
    return {"page": {"id": "home", "name": "Home", "route": "/", "config": {"components": [component]}, **more}}


async def test_a_page_is_saved_at_runtime_and_not_here(make: Any, runtime: Runtime, tmp_path: Path) -> None:
    await make().run(save_to_runtime, page("one"))
    result = await make().run(save_to_runtime, page("two"), minute=1)
    assert result["saved"] is True
    assert result["path"] == f"{runtime.url}/projects/my%20shop/pages/home/"
    assert result["changes"]["edited"] == ["t"]
    assert store.read_page(runtime.root, "my shop", "home") == page("two")["page"]
    assert not (tmp_path / "home" / "runtime").exists()


async def test_an_older_page_is_not_saved_and_the_reason_is_told(make: Any) -> None:
    await make().run(save_to_runtime, page(version=7))
    result = await make().run(save_to_runtime, page(version=6))
    assert (result["saved"], result["superseded"]) == (False, True)
    assert "version 6 is older" in result["reason"]


async def test_a_deleted_page_is_gone_from_the_next_publish(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page())
    result = await make().run(save_to_runtime, page(), event="page.deleted", minute=1)
    assert (result["saved"], result["deleted"]) == (True, "home")
    with pytest.raises(ValidationError, match="no saved pages"):
        await make().run(compile_pages)


async def test_a_dry_run_writes_nothing(make: Any, runtime: Runtime) -> None:
    result = await make().run(save_to_runtime, page(), update_files=False)
    assert (result["saved"], result["dry_run"]) == (False, True)
    assert store.list_pages(runtime.root, "my shop") == []


async def test_pages_of_runtime_are_validated_when_the_event_carries_none(make: Any) -> None:
    await make().run(save_to_runtime, page())
    assert (await make().run(validate_page))["valid_pages"] == 1


async def test_a_publish_goes_live_at_runtime(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page("Hello"))
    first = await make().publish()
    await make().run(save_to_runtime, page("World"), minute=1)
    second = await make().publish()
    assert (second["deployed"], second["previous"]) == (True, first["version"])
    live = releases.live_version(runtime.root, "my shop", "production")
    assert live == second["version"]
    folder = releases.release_folder(runtime.root, "my shop", live)
    assert "World" in (folder / "index.html").read_text()
    assert len(releases.read_release(folder).files) == second["files"]


async def test_a_publish_that_a_newer_one_has_overtaken_is_not_switched_to(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page())
    older, newer = make(), make()
    await older.build()
    live = await newer.publish()
    result = await older.run(deploy_to_runtime)
    assert (result["deployed"], result["superseded"]) == (False, True)
    assert releases.live_version(runtime.root, "my shop", "production") == live["version"]


async def test_a_rollback_takes_the_release_before_the_live_one(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page())
    first, second = await make().publish(), await make().publish()
    back = make()
    found = await back.run(verify_release, {"input": {"action": "rollback"}})
    result = await back.run(deploy_to_runtime)
    assert found["version"] == first["version"]
    assert (result["deployed"], result["previous"]) == (True, second["version"])
    assert releases.live_version(runtime.root, "my shop", "production") == first["version"]


async def test_a_release_that_runtime_does_not_have_is_a_wrong_input(make: Any) -> None:
    await make().run(save_to_runtime, page())
    await make().publish()
    with pytest.raises(ValidationError, match="no release 'v0'"):
        await make().run(verify_release, {"input": {"action": "promote", "version": "v0"}})


async def test_a_deploy_goes_on_where_it_was_when_runtime_is_back(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page())
    execution = make()
    await execution.build()
    runtime.go()
    with pytest.raises(NetworkError, match="cannot be reached"):
        await execution.run(deploy_to_runtime)
    runtime.come()
    result = await execution.run(deploy_to_runtime)
    again = await execution.run(deploy_to_runtime)
    assert result["version"] == again["version"]
    assert len(releases.list_releases(runtime.root, "my shop")) == 1


async def test_saves_are_retried_while_runtime_is_away(make: Any, runtime: Runtime) -> None:
    runtime.go()
    with pytest.raises(NetworkError, match="cannot be reached"):
        await make().run(save_to_runtime, page())


async def test_an_answer_that_is_not_as_agreed_is_a_network_error(make: Any, runtime: Runtime) -> None:
    runtime.answer = lambda request: (200, {"saved": "yes"})
    with pytest.raises(NetworkError, match="without a bool `saved`"):
        await make().run(save_to_runtime, page())


async def test_a_page_at_runtime_gets_its_backup_back_once(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page("one"))
    execution = make()
    await execution.run(save_to_runtime, page("two"), minute=1)

    answers = [await execution.take_back(save_to_runtime, page("two"), minute=1) for _ in range(2)]

    assert [one["restored"] for one in answers] == [True, False]
    assert store.read_page(runtime.root, "my shop", "home") == page("one")["page"]


async def test_a_release_at_runtime_gives_way_to_what_was_live_unless_a_newer_one_is(
    make: Any, runtime: Runtime
) -> None:
    await make().run(save_to_runtime, page())
    executions = [make() for _ in range(3)]
    first, second, third = [(await one.publish())["version"] for one in executions]
    assert first < second < third

    assert (await executions[1].take_back(deploy_to_runtime))["restored"] is False
    assert releases.live_version(runtime.root, "my shop", "production") == third
    assert (await executions[2].take_back(deploy_to_runtime))["live"] == second
    assert releases.live_version(runtime.root, "my shop", "production") == second


async def test_the_first_release_at_runtime_leaves_an_empty_environment(make: Any, runtime: Runtime) -> None:
    await make().run(save_to_runtime, page())
    execution = make()
    await execution.publish()

    assert (await execution.take_back(deploy_to_runtime))["live"] is None
    assert releases.live_version(runtime.root, "my shop", "production") is None
