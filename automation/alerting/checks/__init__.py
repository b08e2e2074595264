"""What each type of rule looks at, and what it finds wrong now.

A check reads by an index of what is open or new, or figures that are kept for it, so that it costs the same however
long the history is. It changes nothing.
"""

from automation.alerting.checks.failures import dead_letters, failures_in_a_row
from automation.alerting.checks.look import Check, Found, Look
from automation.alerting.checks.resources import connections, host
from automation.alerting.checks.slow import slow_executions
from automation.alerting.checks.standstill import (
    mirror_lag,
    no_worker,
    queue_age,
    run_without_heartbeat,
    schedule_missed,
)

CHECKS: dict[str, Check] = {
    "failures_in_a_row": failures_in_a_row,
    "dead_letters": dead_letters,
    "slow_executions": slow_executions,
    "host": host,
    "connections": connections,
    "queue_age": queue_age,
    "no_worker": no_worker,
    "mirror_lag": mirror_lag,
    "schedule_missed": schedule_missed,
    "run_without_heartbeat": run_without_heartbeat,
}
"""By type of rule. Those that are not here are not looked for: `sightings` and `database_away` come by themselves."""

__all__ = ["CHECKS", "Check", "Found", "Look"]
