"""OPTIMIZE_ASSETS on a build."""

import base64
import io
import random
from pathlib import Path

import pytest
from PIL import Image

from automation.errors import ValidationError
from tasks.assets import optimize_assets
from tasks.pages import compile_pages
from tests.unit.tasks.site_steps import Project, component, page


def photo() -> bytes:
    buffer = io.BytesIO()
    noise = random.Random(7).randbytes(64 * 64 * 3)
    Image.frombytes("RGB", (64, 64), noise).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    url = f"data:image/jpeg;base64,{base64.b64encode(photo()).decode()}"
    made.save(
        page("home", "/", component("Image", "i", src=url, alt="A")),
        page("about", "/about", component("Image", "i", src=url, alt="A")),
    )
    return made


def only_image(project: Project) -> Path:
    [file] = (project.build / "assets").iterdir()
    return file


async def test_images_leave_the_pages_and_get_smaller(project: Project) -> None:
    await project.run(compile_pages)
    result = await project.run(optimize_assets)
    assert (result["extracted"], result["files"], result["warnings"]) == (2, 1, 0)
    assert result["bytes_after"] < result["bytes_before"]
    file = only_image(project)
    assert file.stat().st_size < len(photo())
    assert f"assets/{file.name}" in (project.build / "index.html").read_text()
    assert f"../assets/{file.name}" in (project.build / "about/index.html").read_text()


async def test_without_optimize_images_the_files_keep_their_bytes(project: Project) -> None:
    await project.run(compile_pages, optimize_images=False)
    await project.run(optimize_assets)
    assert only_image(project).read_bytes() == photo()


async def test_quality_decides_about_the_size(project: Project) -> None:
    sizes = []
    for quality in (85, 20):
        await project.run(compile_pages)
        await project.run(optimize_assets, quality=quality)
        sizes.append(only_image(project).stat().st_size)
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("quality", [0, 96, "high"])
def test_a_quality_that_makes_no_sense_is_refused(quality: object) -> None:
    with pytest.raises(ValidationError, match="quality"):
        optimize_assets.parse({"quality": quality})


async def test_a_second_try_changes_nothing(project: Project) -> None:
    await project.run(compile_pages)
    await project.run(optimize_assets)
    before = {file: file.read_bytes() for file in project.build.rglob("*") if file.is_file()}
    await project.run(optimize_assets)
    assert {file: file.read_bytes() for file in project.build.rglob("*") if file.is_file()} == before


async def test_a_broken_image_is_in_the_log_and_does_not_stop_the_publish(project: Project) -> None:
    url = f"data:image/png;base64,{base64.b64encode(b'no image' * 50).decode()}"
    project.save(page("home", "/", component("Image", "i", src=url, alt="A")), minute=1)
    await project.run(compile_pages)
    assert (await project.run(optimize_assets))["warnings"] == 1
    assert any(line.startswith("WARNING index.html: an image stays as it is") for line in project.lines)
    assert url in (project.build / "index.html").read_text()


async def test_without_a_build_it_says_which_step_is_missing(project: Project) -> None:
    with pytest.raises(ValidationError, match="COMPILE_PAGES"):
        await project.run(optimize_assets)
