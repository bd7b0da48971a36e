"""Log lines without secrets, each on one line, so that none can be forged."""

import json
import logging
import re
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from devices.security.log_context import ids_now

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# A long piece of an address may be a one-time link, or a password typed into the wrong field.
_PIECE = re.compile(r"/[^/\s]{12,}")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?|\bgAAAA[\w-]{20,}=*|\btwh_[\w-]{20,}")


# The latest errors, for the page Server: below the data folder.
ERRORS_FILE, ERRORS_BYTES = "log/errors.jsonl", 200_000


class ErrorFile(RotatingFileHandler):
    """Keeps errors in a small file. One that cannot be written stops nothing. An answer that is
    meant, such as the 503 of /readyz, is no error.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder, ERRORS_FILE)
        super().__init__(path, maxBytes=ERRORS_BYTES, backupCount=1, encoding="utf-8", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "django.request" and not record.exc_info:
            return
        with suppress(OSError):
            Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """Say nothing: the line is in the log itself."""


class SafeFormatter(logging.Formatter):
    """One line an event: line breaks are escaped, e-mail addresses, tokens and the long pieces of
    addresses that were asked for left out. The ids of request, install and account are at its end.
    """

    def format(self, record: logging.LogRecord) -> str:
        first, is_more, rest = super().format(record).partition("\n")  # what follows is a traceback
        text = _clean(record, first) + is_more + _hidden(rest)
        ids = " ".join(f"{name}={value}" for name, value in ids_now().items())
        return text.replace("\r", "\\r").replace("\n", "\\n") + (f" [{ids}]" if ids else "")


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values: dict[str, object] = {"at": at, "level": record.levelname, "logger": record.name}
        values |= {"process": record.process, "message": _clean(record, record.getMessage())}
        if record.exc_info:
            values["trace"] = _hidden(self.formatException(record.exc_info))
        return json.dumps(values | getattr(record, "values", {}) | ids_now(), ensure_ascii=False)


def shown_path(path: str) -> str:
    """Return the path of an address as a log may hold it."""
    return _hidden(_PIECE.sub("/[…]", path))


def _clean(record: logging.LogRecord, text: str) -> str:
    if record.name.startswith(("django.", "access")) and not record.name.startswith("django.db"):
        return shown_path(text)
    return _hidden(text)


def _hidden(text: str) -> str:
    return _TOKEN.sub("[token]", _EMAIL.sub("[e-mail]", text))
