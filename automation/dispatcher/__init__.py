"""The dispatcher: executions that are due become flow runs in Prefect.

The row of a flow run is stored before the API is called, and the idempotency key of the call names that row:
whatever dies in between, the run exists exactly once afterwards.
"""

from automation.dispatcher.loop import Dispatcher

__all__ = ["Dispatcher"]
