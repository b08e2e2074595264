"""One file per neighbour; each step type is one Prefect task."""
