"""The file watcher: FILE_CHANGE triggers fire when files below their root have changed.

roots      where watching is allowed
tree       which files there are, and what has changed between two looks
hints      when to look: what watchfiles says
watcher    the loop: looks when a burst of changes has settled, and hands the event to the intake
"""

from automation.watch.roots import check_root
from automation.watch.watcher import Watcher

__all__ = ["Watcher", "check_root"]
