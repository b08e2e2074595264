"""Housekeeping: what is too old goes, what is left over goes, and the database is kept in shape."""

from automation.maintenance.database import DATABASE_BLOCK, optimize, save_database_block
from automation.maintenance.files import delete_page_backups, delete_temporary
from automation.maintenance.retention import (
    delete_audit,
    delete_events,
    delete_in_batches,
    delete_prefect_runs,
    delete_project_runs,
    delete_rows,
)
from automation.maintenance.sizes import folder_sizes, freed_bytes, in_words, measure_folders, sizes

__all__ = [
    "DATABASE_BLOCK",
    "delete_audit",
    "delete_events",
    "delete_in_batches",
    "delete_page_backups",
    "delete_prefect_runs",
    "delete_project_runs",
    "delete_rows",
    "delete_temporary",
    "folder_sizes",
    "freed_bytes",
    "in_words",
    "measure_folders",
    "optimize",
    "save_database_block",
    "sizes",
]
