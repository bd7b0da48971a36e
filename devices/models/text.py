"""Text from outside, cut and cleaned before it is stored or shown."""

import re
import unicodedata


def one_line(text: str, limit: int = 300) -> str:
    """Return the text on one line without control characters, cut at the limit, fit to quote."""
    clean = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


# Letters and marks that show nothing, although Unicode does not call them format characters.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def clean_name(text: str, limit: int | None = None) -> str:
    """Return a name as people see it: one line, no control, zero-width or direction marks."""
    kept = []
    for char in text:
        kind = unicodedata.category(char)
        if kind in {"Cc", "Zl", "Zp", "Zs"}:
            kept.append(" ")
        elif kind[0] != "C" and char not in _INVISIBLE:
            kept.append(char)
    return " ".join("".join(kept).split())[:limit]


_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def isolate(text: str) -> str:
    """Return a name to put into a sentence: one with letters that run from right to left is set
    apart, as HTML's bdi does. Otherwise "5.3.2 → 5.3.3" beside it would be shown the wrong way
    round.
    """
    if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return f"\u2068{text}\u2069"
    return text


def clip(text: str, length: int) -> str:
    """Return the text cut to a column's length, without NULs, which PostgreSQL refuses."""
    return text.replace("\0", "")[:length]


# What RFC 5322 allows in an atom before the "@", and letters beyond ASCII.
_ATOM = r"[\w.!#$%&'*+/=?^`{|}~-]"
_EMAIL = re.compile(rf"({_ATOM}){_ATOM}*@([\w-]+(?:\.[\w-]+)*)")


def mask_emails(text: str) -> str:
    """Return the text with each address as "o•••@example.com": enough to know whose it is, too
    little to write to.
    """
    return _EMAIL.sub(r"\1•••@\2", text)
