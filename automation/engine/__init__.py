"""The engine: runs the steps of executions inside a flow run, and records what happened.

    plan     what is to be done, in which order      pure
    claim    taking executions for a flow run        SQL
    run      doing it                                async, Prefect
    record   what was done                           SQL
"""

from automation.engine.run import FLOW_OPTIONS, process_database, run

__all__ = ["FLOW_OPTIONS", "process_database", "run"]
