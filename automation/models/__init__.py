"""The tables of Automation, one module a noun, with the queries of that noun beside it."""

from automation.models.base import Base, Json, utc_now
from automation.models.event import Event
from automation.models.execution import FINAL, OPEN, Execution, ExecutionLog, Status, StepExecution
from automation.models.flow_run import FlowRun, MirrorCursor
from automation.models.project import Project
from automation.models.records import Activity, Alert, Integration
from automation.models.trigger import DedupeKey, Timer, Trigger, TriggerState, WebhookSecret
from automation.models.workflow import Workflow, WorkflowDeployment, WorkflowStep

__all__ = [
    "FINAL",
    "OPEN",
    "Activity",
    "Alert",
    "Base",
    "DedupeKey",
    "Event",
    "Execution",
    "ExecutionLog",
    "FlowRun",
    "Integration",
    "Json",
    "MirrorCursor",
    "Project",
    "Status",
    "StepExecution",
    "Timer",
    "Trigger",
    "TriggerState",
    "WebhookSecret",
    "Workflow",
    "WorkflowDeployment",
    "WorkflowStep",
    "utc_now",
]
