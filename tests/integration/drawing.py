"""Hypothesis in a process in which Prefect's threads run."""

import pytest

beside_prefect = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)
"""What Prefect's threads take from `random` meanwhile (a word for each ping of their web socket), Hypothesis lays at
the door of a strategy. No such thread runs while tests/unit do: there a strategy that uses `random` is still found."""
