"""What is to reach somebody later: effects that are owed to a neighbour, and what administrators are to know.

Both loops keep their state in the database, and each is run by one process at a time.
"""

from automation.outbox.alerts import Alerts
from automation.outbox.loop import Outbox

__all__ = ["Alerts", "Outbox"]
