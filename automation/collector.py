"""Python's garbage collector in processes that live long and have much imported."""

import gc

_YOUNG = 20_000
"""Allocations between two collections. At the default of 700, a quarter of a batch run's time under the interpreter
lock went into looking at the same objects again and again."""


def spare_collector() -> None:
    """Have the collector leave alone what is imported by now (it stays anyway), and look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
