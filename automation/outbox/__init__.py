"""What is to reach somebody later: effects that are owed to a neighbour, and messages that people are owed.

Its loop keeps its state in the database, and is run by one process at a time.
"""

from automation.outbox.loop import Outbox

__all__ = ["Outbox"]
