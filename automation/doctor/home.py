"""The home folder: its disk, who may write and read in it, and the secrets that lie there."""

import asyncio
import os
import stat
import tempfile
from pathlib import Path

from pydantic import SecretStr
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from automation.doctor.findings import Findings, failed, listed, ok, warning
from automation.doctor.patient import Patient
from automation.installation import ALERT_SECRET_FILE, API_KEY_FILE, CALLBACK_SECRET_FILE, WEBHOOK_SECRET_FILE
from automation.maintenance import in_words

KEY_FILES = (API_KEY_FILE, WEBHOOK_SECRET_FILE, CALLBACK_SECRET_FILE, ALERT_SECRET_FILE)

_LITTLE, _NONE = 0.10, 0.02
"""Shares of a disk that are free: from the first on an alert is told, with the second a page or two is left."""


async def home(patient: Patient) -> Findings:
    """Whether the folder is there and can be written."""
    return await asyncio.to_thread(_home, patient.at.home)


def _home(folder: Path) -> Findings:
    if not folder.is_dir():
        return failed(
            f"AUTOMATION_HOME: there is no folder {folder}", "`automation up` makes it; or set AUTOMATION_HOME"
        )
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return failed(
            f"AUTOMATION_HOME: {folder} cannot be written ({error.strerror})",
            f"make it writable for user {os.geteuid()}, who asks now, if the parts run as that user",
        )
    if folder.stat().st_mode & stat.S_IWOTH:
        return failed(f"AUTOMATION_HOME: anybody may write in {folder}", f"chmod o-w {folder}")
    return ok(f"{folder} can be written")


async def disk(patient: Patient) -> Findings:
    """Whether the disk of the home has room for bytes and for files."""
    folder = patient.at.home
    while not folder.exists():
        folder = folder.parent
    return judge_disk(folder, await asyncio.to_thread(os.statvfs, folder))


def judge_disk(folder: Path, found: os.statvfs_result) -> Findings:
    """What the room on a disk means; a file system without a limit of files counts none."""
    room, inodes = found.f_bavail / max(found.f_blocks, 1), found.f_favail / found.f_files if found.f_files else 1.0
    free = found.f_bavail * found.f_frsize
    saw = f"{folder}: {in_words(free)} ({room:.0%}) free, {inodes:.0%} of its files"
    todo = "make room: lower older_than_days of the cleanup workflow, or AUTOMATION_KEEP_RELEASES, or enlarge the disk"
    if min(room, inodes) < _NONE:
        return failed(saw, todo)
    return warning(saw, todo) if min(room, inodes) < _LITTLE else ok(saw)


async def secrets(patient: Patient) -> Findings:
    """Whether the files with keys are for their owner alone."""
    return await asyncio.to_thread(_secrets, patient.at.home)


def _secrets(folder: Path) -> Findings:
    found: Findings = []
    there = [folder / name for name in KEY_FILES if (folder / name).is_file()]
    for path in there:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            found += failed(f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}, and replace the key")
    names = listed([path.name for path in there]) or "none lies in the home; the settings give them"
    return found or ok(f"{names} are for their owner alone" if there else names)


async def api_key(patient: Patient) -> Findings:
    """Whether the API has a key, that is long enough not to be guessed."""
    key, where = await _secret(patient, patient.settings.api_key, "AUTOMATION_API_KEY", API_KEY_FILE)
    if not key:
        return failed(f"the API has no key: {where}", "`automation up` makes one; or set AUTOMATION_API_KEY")
    if len(key) < 20:
        return warning(
            f"{where} has {len(key)} characters and can be guessed",
            "set one of 32 or more: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return ok(f"{where} has {len(key)} characters")


async def webhook_secret(patient: Patient) -> Findings:
    """Whether Studio's webhooks can be told from anybody's."""
    return await _check_webhook_secret(
        patient, patient.settings.studio_webhook_secret, "AUTOMATION_STUDIO_WEBHOOK_SECRET", WEBHOOK_SECRET_FILE
    )


async def callback_secret(patient: Patient) -> Findings:
    """Whether we can sign what we tell Studio, if we tell it."""
    if not patient.settings.studio_callback_url:
        return ok("not needed: AUTOMATION_STUDIO_CALLBACK_URL is not set")
    return await _check_webhook_secret(
        patient, patient.settings.studio_callback_secret, "AUTOMATION_STUDIO_CALLBACK_SECRET", CALLBACK_SECRET_FILE
    )


async def alert_webhook_secret(patient: Patient) -> Findings:
    """Whether we can sign what we tell of alerts, if somebody listens."""
    if not patient.settings.alert_webhook_url:
        return ok("not needed: AUTOMATION_ALERT_WEBHOOK_URL is not set")
    return await _check_webhook_secret(
        patient, patient.settings.alert_webhook_secret, "AUTOMATION_ALERT_WEBHOOK_SECRET", ALERT_SECRET_FILE
    )


async def _check_webhook_secret(patient: Patient, given: SecretStr | None, variable: str, file: str) -> Findings:
    secret, where = await _secret(patient, given, variable, file)
    todo = f"`automation up` makes one; or set {variable} to whsec_ and base64, as the other side has it"
    if not secret:
        return failed(where, todo)
    try:
        Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        return failed(f"{where} is no secret of Standard Webhooks", todo)
    return ok(f"{where} is well-formed")


async def _secret(patient: Patient, given: SecretStr | None, variable: str, file: str) -> tuple[str, str]:
    """A secret, and where it stands or why there is none."""
    if given:
        return given.get_secret_value(), variable
    path = patient.at.home / file
    try:
        return (await asyncio.to_thread(path.read_text)).strip(), str(path)
    except OSError as error:
        return "", f"{variable} is not set, and {path} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return "", f"{path} is no text"


async def watch_roots(patient: Patient) -> Findings:
    """Whether the folders that FILE_CHANGE triggers watch are there."""
    roots = patient.settings.watch_roots
    gone = [root for root in roots if not await asyncio.to_thread(os.access, root, os.R_OK | os.X_OK)]
    if gone:
        return warning(
            f"AUTOMATION_WATCH_ROOTS: {listed(gone)} cannot be read", "mount or make them, or take them out of it"
        )
    return ok(f"{listed(roots)} can be read" if roots else "AUTOMATION_WATCH_ROOTS is not set")
