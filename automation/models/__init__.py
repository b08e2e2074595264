"""The tables of Automation, one module a noun, with the queries of that noun beside it."""

from automation.models.access import ApiKey, AuditEntry, IdempotencyKey, OpsSession
from automation.models.alert import Alert, AlertState, Sighting, Silence
from automation.models.base import Base, Json, utc_now
from automation.models.event import Event
from automation.models.execution import FINAL, OPEN, Execution, ExecutionLog, Status, StepExecution
from automation.models.flow_run import FlowRun, MirrorCursor
from automation.models.measured import Ending, ErrorCount, ErrorGroup, ResourceSample, Timing
from automation.models.project import Project, ProjectDeletion
from automation.models.records import Activity, Integration
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
    "AlertState",
    "ApiKey",
    "AuditEntry",
    "Base",
    "DeadLetter",
    "DedupeKey",
    "Delivery",
    "Ending",
    "ErrorCount",
    "ErrorGroup",
    "Event",
    "Execution",
    "ExecutionAttempt",
    "ExecutionLog",
    "FlowRun",
    "IdempotencyKey",
    "Integration",
    "Json",
    "MirrorCursor",
    "OpsSession",
    "Owed",
    "Project",
    "ProjectDeletion",
    "ResourceSample",
    "Sighting",
    "Silence",
    "Status",
    "StepAttempt",
    "StepExecution",
    "Timer",
    "Timing",
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
