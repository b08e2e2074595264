"""The tables of Automation, one module a noun, with the queries of that noun beside it."""

from automation.models.access import ApiKey, AuditEntry, IdempotencyKey
from automation.models.base import Base, Json, utc_now
from automation.models.event import Event
from automation.models.execution import FINAL, OPEN, Execution, ExecutionLog, Status, StepExecution
from automation.models.flow_run import FlowRun, MirrorCursor
from automation.models.project import Project, ProjectDeletion
from automation.models.records import Activity, Alert, Integration
from automation.models.recovery import (
    DeadLetter,
    Delivery,
    ExecutionAttempt,
    Owed,
    StepAttempt,
    Wait,
    WorkflowVersion,
)
from automation.models.trigger import DedupeKey, Timer, Trigger, TriggerState, WebhookSecret
from automation.models.workflow import Workflow, WorkflowDeployment, WorkflowStep

__all__ = [
    "FINAL",
    "OPEN",
    "Activity",
    "Alert",
    "ApiKey",
    "AuditEntry",
    "Base",
    "DeadLetter",
    "DedupeKey",
    "Delivery",
    "Event",
    "Execution",
    "ExecutionAttempt",
    "ExecutionLog",
    "FlowRun",
    "IdempotencyKey",
    "Integration",
    "Json",
    "MirrorCursor",
    "Owed",
    "Project",
    "ProjectDeletion",
    "Status",
    "StepAttempt",
    "StepExecution",
    "Timer",
    "Trigger",
    "TriggerState",
    "Wait",
    "WebhookSecret",
    "Workflow",
    "WorkflowDeployment",
    "WorkflowStep",
    "WorkflowVersion",
    "utc_now",
]
