"""What is noticed on the spot: a row in the transaction in which it happens, told a second later.

Whoever notices it waits for no message, and does not fail with it. Rows are inserted and never shared, so that a
thousand processes that fail at the same moment do not wait for each other either; `automation.alerting.loop` makes one
incident of what has one cause.
"""

from uuid import UUID

from automation.models import Sighting
from automation.steps import one_line

CRITICAL_ERRORS = "critical-errors"
ROLLBACK_FAILED = "rollback-failed"
RUN_WITHOUT_HEARTBEAT = "run-without-heartbeat"

NOTICED = (CRITICAL_ERRORS, ROLLBACK_FAILED)
"""Rules that nothing looks for: they have what is noticed alone."""

_LONGEST = 2000
"""Characters of a text that are kept; the execution has all of it."""


def sighting(
    rule: str,
    title: str,
    body: str = "",
    *,
    error_code: str = "",
    step: str = "",
    execution_id: UUID | None = None,
    workflow_id: UUID | None = None,
    project_id: str | None = None,
) -> Sighting:
    """The row, for a transaction of the caller's own: what it records there, somebody hears.

    Args:
        rule: name of the rule that it belongs to; one that is switched off hears nothing.
        title: one line; what is wrong.
        body: what happened, such as the error's message. Of one error code and step, those that differ in nothing but
            numbers, names and the like are one incident; without an error code, all of the rule are.
    """
    return Sighting(
        rule=rule,
        title=one_line(title)[:_LONGEST],
        body=body[:_LONGEST],
        error_code=error_code,
        step=step,
        execution_id=execution_id,
        workflow_id=workflow_id,
        project_id=project_id,
    )
