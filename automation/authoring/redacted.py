"""Workflows that are sent back as they were answered: `[redacted]` in a config stands for the value that is stored."""

from typing import Any

from automation.models import Json, Workflow
from automation.redaction import restored


def whole(raw: object, stored: Workflow | None) -> object:
    """A request's workflow with the stored values in the configs of itself and its steps, which belong together by
    their `identifier`.

    Args:
        stored: None: it is new, or nothing is hidden in it.

    Raises:
        RefusedError: nothing is stored where `[redacted]` stands.
    """
    if not isinstance(raw, dict):
        return raw
    changed: Json = dict(raw)
    if "config" in raw:
        changed["config"] = restored(raw["config"], stored.config if stored else None, "config")
    if isinstance(raw.get("steps"), list):
        configs = {step.identifier: step.config for step in stored.steps} if stored else {}
        changed["steps"] = [_step(step, configs, f"steps.{index}") for index, step in enumerate(raw["steps"])]
    return changed


def _step(raw: Any, configs: dict[str, Json], field: str) -> Any:
    if not isinstance(raw, dict) or "config" not in raw:
        return raw
    identifier = raw.get("identifier")
    stored = configs.get(identifier) if isinstance(identifier, str) else None
    return {**raw, "config": restored(raw["config"], stored, f"{field}.config")}
