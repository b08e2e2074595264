"""Steps on the files of a built site."""

import asyncio

from pydantic import Field

from automation.runtime.assets import optimize_site
from automation.steps import Result, StepConfig, StepContext, step
from tasks.site import build_of


class OptimizeAssetsConfig(StepConfig):
    """`quality`: of JPEG and WebP images, 1 to 95."""

    quality: int = Field(85, ge=1, le=95)


@step("OPTIMIZE_ASSETS", tags=("image-optimisation",))
async def optimize_assets(step: StepContext, config: OptimizeAssetsConfig) -> Result:
    """Move the images inside this execution's pages to files, and make them smaller without their metadata.

    Without COMPILE_PAGES' `optimize_images` the files keep their bytes. Nothing gets larger; an image that
    cannot be read stays as it is, with a warning in the log. Run again, it goes on with what is left.

    Returns:
        {"extracted": n, "files": n, "bytes_before": n, "bytes_after": n, "warnings": n}

    Raises:
        ValidationError: no step before this one compiled any pages.
        FileSystemError: the disk refused.
    """
    return await asyncio.to_thread(_optimize, step, config)


def _optimize(step: StepContext, config: OptimizeAssetsConfig) -> Result:
    build = build_of(step)
    report = optimize_site(build.site, quality=config.quality, recompress=build.optimize_images)
    for warning in report.warnings:
        step.log(warning, "WARNING")
    sizes = f"{report.bytes_before} → {report.bytes_after} bytes"
    step.log(f"{report.extracted} images became {len(report.files)} files; {sizes}.")
    return {
        "extracted": report.extracted,
        "files": len(report.files),
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "warnings": len(report.warnings),
    }
