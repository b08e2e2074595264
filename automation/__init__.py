"""Automation: the workflow engine of a no-code platform, on Prefect."""
