"""How fast the engine is, beside the Celery design that it replaces and beside Prefect's stock worker."""
