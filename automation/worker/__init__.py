"""The warm worker: flow runs in processes that are there already, with everything imported.

    worker      Prefect's side: claims runs, sets what a child cannot set, hands back     asyncio, Prefect
    children    the processes: started, watched, cancelled, killed, replaced              asyncio, multiprocessing
    child       what such a process does: one run at a time                               asyncio, Prefect
    pace        when to ask Prefect again                                                 pure
    ours        which deployments run in a child; any other starts an interpreter         pure
    adapter     the few things that Prefect keeps to itself

Found by Prefect through the entry-point group `prefect.collections`.
"""

from automation.worker.worker import WarmWorker

__all__ = ["WarmWorker"]
