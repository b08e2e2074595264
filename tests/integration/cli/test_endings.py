"""How a command ends."""

from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from tests.integration.api.serving import KEY, Api
from tests.integration.cli.commands import Run, failed_in_one_line


async def test_what_is_not_there_ends_with_3(run: Run) -> None:
    assert "does not exist" in failed_in_one_line(await run("executions", "show", uuid4()), 3)


async def test_a_refusal_ends_with_4_and_names_the_field(run: Run) -> None:
    refused = await run("workflows", "create", "-", stdin="name: x\nsteps: [{step_type: NOPE, config: {}}]")

    assert "steps" in failed_in_one_line(refused, 4)


async def test_a_wrong_key_ends_with_2(run: Run) -> None:
    failed_in_one_line(await run("executions", "list", AUTOMATION_API_KEY="wrong"), 2)


async def test_no_api_ends_with_5_and_so_does_something_else_in_its_place(run: Run, prefect_api: str) -> None:
    nobody = await run("executions", "list", AUTOMATION_API_URL="http://127.0.0.1:9")
    other = await run("executions", "list", AUTOMATION_API_URL=prefect_api.removesuffix("/api"))

    assert "does not answer" in failed_in_one_line(nobody, 5)
    assert "is not the API" in failed_in_one_line(other, 5)


async def test_usage_and_settings_that_cannot_be_right_end_with_2(run: Run) -> None:
    id_ = uuid4()
    for words in (
        ["executions", "show", "x"],
        ["executions", "list", "--status", "DONE"],
        ["executions", "list", "--limit", "0"],
        ["executions", "retry"],
        ["executions", "retry", id_, "--status", "FAILED"],
        ["executions", "retry", id_, "--project", "p1"],
        ["executions", "retry", "--status", "FAILED", "--from-start"],
        ["workflows", "create", "/no/such/file"],
        ["triggers", "test", id_],
        ["nonsense"],
    ):
        ran = await run(*words)
        assert (ran.returncode, ran.stdout) == (2, ""), words
        assert "Traceback" not in ran.stderr
    failed_in_one_line(await run("projects", "list", AUTOMATION_API_URL="nonsense"), 2)
    failed_in_one_line(await run("projects", "list", AUTOMATION_API_KEY=""), 2)
    missing = {"AUTOMATION_API_KEY": "", "AUTOMATION_API_KEY_FILE": "/no/such/file"}
    failed_in_one_line(await run("projects", "list", **missing), 2)


async def test_without_an_address_the_local_installation_is_meant(api: Api, run: Run, tmp_path: Path) -> None:
    local = {"AUTOMATION_API_URL": "", "AUTOMATION_API_KEY": "", "AUTOMATION_API_PORT": str(urlsplit(api.url).port)}
    nothing = await run("projects", "list", **local)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api.key").write_text(KEY + "\n")
    found = await run("projects", "list", **local)

    assert "`automation up`" in failed_in_one_line(nothing, 5)
    assert found.returncode == 0, found.stderr


async def test_a_worker_that_is_elsewhere_is_not_restarted(run: Run, prefect_api: str) -> None:
    said = failed_in_one_line(await run("worker", "restart"), 3)

    assert "on this machine" in said
    assert "Prefect" in said
