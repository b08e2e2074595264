"""What the dispatcher asks Prefect for."""

from dataclasses import dataclass
from uuid import UUID

from automation.models import Json


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A flow run that is stored in our table and is to be made in Prefect."""

    flow_run_id: UUID
    idempotency_key: str
    kind: str
    name: str
    parameters: Json
    tags: tuple[str, ...]
    deployment_id: UUID | None = None
    """The workflow's own deployment, if it has one; else that of its kind."""
