"""Where watching is allowed: below the folders in AUTOMATION_WATCH_ROOTS, wherever symlinks lead."""

from pathlib import Path

from automation.errors import RefusedError
from automation.settings import Settings


def check_root(root: str, settings: Settings, field: str) -> Path:
    """The folder that `root` names, with all symlinks followed; it need not exist yet. Reads the disk.

    Raises:
        RefusedError: it is not absolute, or not in one of the folders that may be watched.
    """
    if not settings.watch_roots:
        raise RefusedError(f"{field}: AUTOMATION_WATCH_ROOTS is not set, so no files may be watched", field)
    if "\0" in root or not Path(root).is_absolute():
        raise RefusedError(f"{field}: {root!r} is no absolute path", field)
    try:
        folder = Path(root).resolve()
        allowed = any(folder.is_relative_to(one.resolve()) for one in settings.watch_roots)
    except (OSError, RuntimeError):  # a symlink that leads to itself
        allowed = False
    if not allowed:
        raise RefusedError(f"{field}: {root!r} is in none of the folders of AUTOMATION_WATCH_ROOTS", field)
    return folder
