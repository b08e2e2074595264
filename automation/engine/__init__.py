"""The engine: runs the steps of executions inside a flow run, and records what happened.

plan     what is to be done, in which order                  pure
claim    taking executions for a single run                  SQL
queue    taking waiting executions for a batch run           SQL
entry    a flow run that carries executions                   Prefect
batch    a flow run that drains what waits                   Prefect
work     doing it, wave by wave                              async
record   what was done                                       SQL
ending   what is still to be undone before the end           SQL
"""

from automation.engine.entry import FLOW_OPTIONS, cancel, finish, run
from automation.engine.work import process_database

__all__ = ["FLOW_OPTIONS", "cancel", "finish", "process_database", "run"]
