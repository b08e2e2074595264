"""What Prefect must hold for this installation; `python -m deployments` applies it, as often as you like."""
