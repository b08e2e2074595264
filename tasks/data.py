"""Steps that work on data alone."""

from pydantic import Field

from automation.models import Json
from automation.steps import Result, StepConfig, StepContext, step


class TransformConfig(StepConfig):
    """`output`: the step's result; its values may be templates, as in any step's config."""

    output: Json = Field(default_factory=dict)


@step("TRANSFORM")
async def transform(step: StepContext, config: TransformConfig) -> Result:
    """Make values for later steps, of the trigger's and of earlier steps' data. It has no effect elsewhere.

    Returns:
        `output`, its templates replaced by what they stand for.
    """
    return config.output
