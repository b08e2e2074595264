"""The mirror: Prefect's runs and logs in our own tables, exact by reading rather than by listening.

states    what became of flow runs
settle    what becomes of the executions of a run that ended without them
reaper    runs whose process is gone
logs      Prefect's log lines
verify    whether all of it is true
loop      when each of them is done
"""

from automation.mirror.loop import Mirror
from automation.mirror.verify import count

__all__ = ["Mirror", "count"]
