"""Log lines that nobody can forge or read secrets from."""

import logging
import re

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# A long piece of an address may be a one-time link, or a password typed into the wrong field.
_PIECE = re.compile(r"/[^/\s]{12,}")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?|\bgAAAA[\w-]{20,}=*|\btwh_[\w-]{20,}")


class OneLine(logging.Formatter):
    """One line an event: line breaks are escaped, e-mail addresses, tokens and the long pieces of
    addresses that were asked for left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name.startswith("django.") and not record.name.startswith("django.db"):
            first, is_more, rest = text.partition("\n")  # what follows is a traceback
            text = _PIECE.sub("/[…]", first) + is_more + rest
        text = _TOKEN.sub("[token]", _EMAIL.sub("[e-mail]", text))
        return text.replace("\r", "\\r").replace("\n", "\\n")
