"""Code of others that opens connections by itself, kept to the addresses that it may reach.

Apprise has some two hundred services, each with its own way out, and a few read files that their URL names. None can be
told which address to connect to. So while such code runs, an audit hook of Python's sees each connection with the
address that is really connected to, and each file, and refuses what is not allowed.
"""

import mimetypes
import os
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import certifi

from automation.errors import ValidationError

Permit = Callable[[str, int], bool]
"""Whether an address and port may be connected to."""

T = TypeVar("T")

_here = threading.local()
_hook = threading.Lock()
_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_FORBIDDEN = (
    "_thread.start_new_thread", "_thread.start_joinable_thread",  # the hook would not see what runs there
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR
_VERIFY = ssl.get_default_verify_paths()
_READABLE = tuple(
    os.path.realpath(path)
    for path in (
        sys.prefix, sys.base_prefix, certifi.where(), "/dev/urandom", *mimetypes.knownfiles,
        _VERIFY.cafile, _VERIFY.capath, _VERIFY.openssl_cafile, _VERIFY.openssl_capath,
    )
    if path
)  # fmt: skip


class _RefusedError(OSError):
    """What code under the guard gets; most of it takes that for a connection that failed."""


def guarded(permit: Permit, work: Callable[[], T]) -> T:
    """Do `work` in this thread, under the guard.

    Raises:
        ValidationError: it tried what it may not, whatever it made of the refusal.
    """
    global _installed
    with _hook:
        if not _installed:
            sys.addaudithook(_watch)  # for the life of the process: Python has no way back
            _installed = True
    _here.permit, _here.refusal = permit, ""
    try:
        done = work()
    except _RefusedError:
        raise ValidationError(_here.refusal) from None
    finally:
        _here.permit = None
    if _here.refusal:
        raise ValidationError(_here.refusal)
    return done


_installed = False


def _watch(event: str, args: tuple[Any, ...]) -> None:
    permit: Permit | None = getattr(_here, "permit", None)
    if permit is None:
        return
    if refusal := _refusal(event, args, permit):
        _here.refusal = refusal
        raise _RefusedError(refusal)


def _refusal(event: str, args: tuple[Any, ...], permit: Permit) -> str:
    if event in _CONNECTS:
        address = args[-1]
        if address is None:  # of a socket that is connected already
            return ""
        if not isinstance(address, tuple) or not permit(str(address[0]), int(address[1])):
            return (
                "The service's address belongs to this machine or its network, and messages go to the internet only. "
                "An operator can name it in AUTOMATION_EGRESS_ALLOW."
            )
    if event == "open" and not _may_open(*args):
        return "The URL has the service read or write a file of this machine, which it may not."
    return "The service does what it may not here, such as starting a program." if event in _FORBIDDEN else ""


def _may_open(path: object, mode: str | None, flags: int) -> bool:
    if isinstance(path, int):  # open already
        return True
    if flags & _WRITES or (mode and set(mode) & set("wax+")):
        return False
    real = Path(os.path.realpath(os.fsdecode(path)))  # type: ignore[arg-type]
    return any(real.is_relative_to(folder) for folder in _READABLE)
