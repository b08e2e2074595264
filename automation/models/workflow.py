"""Workflows: what is to be done, step by step. When it is done, their triggers say."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from automation.models.base import Base, Json, WithId, WithTimes

if TYPE_CHECKING:
    from automation.models.trigger import Trigger


class Workflow(WithId, WithTimes, Base):
    """A chain of steps; `kind` names the flow that runs it, which is also its deployment and its queue."""

    __tablename__ = "workflows"
    __table_args__ = (
        Index("ix_workflows_project_id_kind", "project_id", "kind"),
        Index("ix_workflows_created_at_id", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(default="")
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(50))
    trigger_type: Mapped[str] = mapped_column(String(50))
    is_active: Mapped[bool] = mapped_column(default=True)
    config: Mapped[Json] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)
    """Rises with every change of the workflow or its steps, by whomever (triggers in the database)."""
    archived_at: Mapped[datetime | None]
    """When it was deleted although it has executions: it never runs again, and its history stays readable."""

    steps: Mapped[list["WorkflowStep"]] = relationship(
        order_by="WorkflowStep.order, WorkflowStep.identifier", lazy="raise", cascade="all, delete-orphan"
    )
    triggers: Mapped[list["Trigger"]] = relationship(
        order_by="Trigger.created_at, Trigger.id", lazy="raise", cascade="all, delete-orphan"
    )


class WorkflowStep(WithId, Base):
    """One step of a workflow. Steps of equal `order` run in parallel; `depends_on` names others to wait for."""

    __tablename__ = "workflow_steps"
    __table_args__ = (UniqueConstraint("workflow_id", "identifier"),)

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"))
    identifier: Mapped[str] = mapped_column(String(100))
    step_type: Mapped[str] = mapped_column(String(50))
    order: Mapped[int]
    depends_on: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    config: Mapped[Json] = mapped_column(default=dict)
    conditions: Mapped[Json] = mapped_column(default=dict)
    is_required: Mapped[bool] = mapped_column(default=True)


class WorkflowDeployment(Base):
    """The Prefect deployment that belongs to one workflow alone, and what was last written into it."""

    __tablename__ = "workflow_deployments"

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True)
    deployment_id: Mapped[UUID]
    applied: Mapped[Json]
