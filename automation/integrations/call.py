"""What a step needs to call an integration: the row that it names, its config, and its credentials of now."""

from dataclasses import dataclass
from uuid import UUID

from automation.errors import NetworkError, NotFoundError, RefusedError, UnavailableError, ValidationError
from automation.integrations.credentials import recent
from automation.integrations.proofs import Credentials
from automation.integrations.types import Config, parse_config
from automation.models.integration_queries import named_integration
from automation.steps import StepContext


@dataclass(frozen=True, slots=True)
class Called:
    """An integration that is about to be called. Nothing of it is to be logged but its id and name."""

    id: UUID
    name: str
    config: Config
    credentials: Credentials | None


async def called(step: StepContext, reference: str) -> Called:
    """The integration that a step names, by id or name: one of its project, else one of the platform.

    Raises:
        ValidationError: there is none, it is switched off, or its config is none that we know.
        NetworkError: its credentials cannot be read now, or are just being replaced.
    """
    async with step.database.transaction() as session:
        row = await named_integration(session, reference, step.project.id or None)
    if row is None:
        where = f"project {step.project.id}" if step.project.id else "the platform"
        raise ValidationError(f"There is no integration {reference!r} for {where}.")
    if not row.is_active:
        raise ValidationError(f"The integration {row.name!r} is switched off.")
    try:
        config = parse_config(row.type, row.config)
        return Called(row.id, row.name, config, await recent(row.id, row.updated_at, config))
    except RefusedError as error:
        raise ValidationError(f"The integration {row.name!r} has a wrong config: {error}") from None
    except (NotFoundError, UnavailableError) as error:
        raise NetworkError(f"The integration {row.name!r}: {error}") from None
