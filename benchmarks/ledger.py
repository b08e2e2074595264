"""What was sent, so that afterwards everything can be held against it."""

from collections.abc import Sequence
from pathlib import Path

from automation.runtime import store
from benchmarks.pages import Edit, page


class Ledger:
    """Hands out pages that nobody has used, and remembers what was sent.

    Attributes:
        edits: how many, several of one page included.
    """

    def __init__(self) -> None:
        self.edits = 0
        self._next = 0
        self._last: dict[int, Edit] = {}

    def new_pages(self, number: int, prefix: str = "project") -> list[Edit]:
        """The first edits of that many new pages."""
        self._next += number
        return [Edit(n, prefix=prefix) for n in range(self._next - number, self._next)]

    def note(self, edits: Sequence[Edit]) -> None:
        """These are sent now; those of a page stand in the order of their versions."""
        self.edits += len(edits)
        self._last |= {one.number: one for one in edits}

    def stale_pages(self, root: Path) -> int:
        """How many pages are not on disk in their last version."""
        return sum(not _is_saved(root, one) for one in self._last.values())


def _is_saved(root: Path, one: Edit) -> bool:
    return store.read_page(root, one.project_id, f"page-{one.number}") == page(one.number, one.version)
