"""Schedules: every workflow with SCHEDULED triggers has a Prefect deployment of its own, and no slot is lost.

wanted      which deployments there shall be, with which schedules      SQL
reconcile   making Prefect's deployments what they shall be             Prefect
catch_up    slots that Prefect's scheduler missed                       SQL, Prefect
loop        when to do which
"""

from automation.schedules.loop import Schedules

__all__ = ["Schedules"]
