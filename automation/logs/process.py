"""What a process says, as lines on standard output: our records, those of libraries, and what anything prints."""

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from automation.logs.lines import Format, LineFormatter, is_coloured
from automation.settings import Settings

_STDOUT = 1
_QUIET = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "asyncio": logging.WARNING}
"""What tells of each of our requests to Prefect would be most of the log."""
_RUNS = ("prefect.flow_runs", "prefect.task_runs")
_LONGEST_PRINT = 8_000
"""Characters that are printed without a line's end before they are taken for a line."""


def chosen_format(settings: Settings) -> Format:
    """What AUTOMATION_LOG_FORMAT says; `auto` is text on a terminal, and JSON elsewhere."""
    if settings.log_format == "auto":
        return "text" if os.isatty(_STDOUT) else "json"
    return settings.log_format


def set_up(part: str, settings: Settings, *, prints: bool = False) -> None:
    """Have this process log in our form. Prefect's own handlers, and whatever else writes to the console, go.

    Args:
        part: which program this is; stands in each line.
        prints: in JSON, what is printed becomes lines, too; not for commands whose answer is what they print.
    """
    form = chosen_format(settings)
    configure(part, form, settings.log_level, prints=prints and form == "json")


def configure(part: str, form: Format, level: str, *, prints: bool) -> None:
    """The same, by what was chosen."""
    handler = Console(LineFormatter(part, form, colour=is_coloured(_STDOUT)))
    handler.addFilter(_is_told_elsewhere)
    root = logging.getLogger()
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    for logger in loggers:
        for other in [one for one in logger.handlers if _writes_to_console(one)]:
            logger.removeHandler(other)
            logger.propagate = True
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    if prints:
        sys.stdout, sys.stderr = Printed("stdout", logging.INFO), Printed("stderr", logging.WARNING)


class Console(logging.Handler):
    """Standard output, a line in one piece: several processes share it, and what one writes at once stays whole."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # an argument without a text, metadata without names: no trouble of who logs
            line = self.format(_untellable(record, error))
        with suppress(OSError):  # nobody reads any more, or the disk is full
            write(line)


def _untellable(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    """Instead of a record of which no line can be made: where it came from, and what is wrong with it."""
    text = f"{record.pathname}:{record.lineno} logs what cannot be told: {type(error).__name__}"
    return logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, text, (), None)


def write(line: str) -> None:
    """Write a line to standard output in one piece.

    Raises:
        OSError: it cannot be written.
    """
    data = f"{line}\n".encode(errors="backslashreplace")
    while data:
        data = data[os.write(_STDOUT, data) :]


class Printed(io.TextIOBase):
    """In place of a standard stream: what is printed becomes lines of the log.

    Lines without a letter or digit are decoration, and left out.
    """

    def __init__(self, name: str, level: int) -> None:
        self._log = logging.getLogger(name)
        self._level = level
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)
        if len(self._rest) > _LONGEST_PRINT:
            self._say(self._rest)
            self._rest = ""
        return len(text)

    def _say(self, line: str) -> None:
        if any(map(str.isalnum, line)):
            self._log.log(self._level, "%s", line.rstrip())


def _writes_to_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    console: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return isinstance(handler, Console) or (stream is not None and any(stream is one for one in console))


def _is_told_elsewhere(record: logging.LogRecord) -> bool:
    """Whether a record is to be seen; the lines of steps are ours already (`executions`), and how each run begins and
    ends stands in Prefect."""
    if not record.name.startswith(_RUNS):
        return True
    return record.levelno >= logging.WARNING and not record.name.endswith(".step") and not hasattr(record, "is_told")


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    logging.getLogger(__name__).critical("Nobody caught %s: %s", kind.__name__, error, exc_info=(kind, error, trace))


def announcer(settings: Settings, part: str) -> Callable[[str], None]:
    """How a command that people watch says what goes on: as it is on a terminal, as lines of the log in JSON."""
    if chosen_format(settings) == "text":
        return lambda text: print(text, flush=True)
    formatter = LineFormatter(part)

    def say(text: str) -> None:
        for line in filter(None, map(str.strip, text.splitlines())):
            record = logging.LogRecord(part, logging.INFO, "", 0, line, (), None)
            with suppress(OSError):
                write(formatter.format(record))

    return say
