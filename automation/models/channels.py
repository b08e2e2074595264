"""NOTIFY channels. Of the first two the payload is the id of a workflow whose triggers have changed; several changes in
one transaction are one message.
"""

SCHEDULES_CHANNEL = "automation_schedules"
"""A workflow's SCHEDULED triggers, or whether and how it runs, may have changed."""

TRIGGERS_CHANNEL = "automation_triggers"
"""Any other of its triggers may have changed."""

OWED_CHANNEL = "automation_owed"
"""Somebody is to be told of something now."""
