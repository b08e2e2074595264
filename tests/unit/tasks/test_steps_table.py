"""docs/steps.md says what each step type and each key of its config does."""

import re
from pathlib import Path

import pytest

from automation.steps import StepType
from tasks import assets, data, insights, maintenance, notifications, pages, runtime

TABLE = Path(__file__).parents[3] / "docs" / "steps.md"
MODULES = (pages, assets, runtime, insights, notifications, maintenance, data)
STEP_TYPES = [one for module in MODULES for one in vars(module).values() if isinstance(one, StepType)]


@pytest.mark.parametrize("step_type", STEP_TYPES, ids=lambda one: one.name)
def test_the_table_has_every_key_of_a_step_type_with_its_default(step_type: StepType) -> None:
    section = re.search(rf"^\| \*\*{step_type.name}\*\*.*\n(\| \|.*\n)*", TABLE.read_text(), re.MULTILINE)
    assert section is not None
    keys = dict(re.findall(r"\| `(\w+)` \| `([^`]+)` \|", section.group()))
    fields = step_type.config_model.model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    assert keys == {name: _as_json(default) for name, default in defaults.items()}


def _as_json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
