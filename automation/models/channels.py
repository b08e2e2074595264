"""NOTIFY channels by which those who keep schedules and watch files learn that triggers have changed.

The payload is the workflow's id. Several changes in one transaction are one message.
"""

SCHEDULES_CHANNEL = "automation_schedules"
"""A workflow's SCHEDULED triggers, or whether and how it runs, may have changed."""

TRIGGERS_CHANNEL = "automation_triggers"
"""Any other of its triggers may have changed."""
