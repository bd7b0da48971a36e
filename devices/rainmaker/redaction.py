"""Takes secrets out of text that came from, or went to, the cloud, before anyone keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

EXCERPT_CHARS = 300
_LOOKED_AT_CHARS = 4000
_SHORTEST_SECRET = 4
# Every repetition is bounded: a hostile answer must not make a pattern slow.
_KEY = (
    r"[\w-]{0,40}(?:token|password|secret|authorization|signature|credential|security)[\w-]{0,40}"
)
_KEYED_STRING = re.compile(
    rf'(["\']{_KEY}["\']\s{{0,5}}:\s{{0,5}})("(?:[^"\\]|\\.)*"?|[^\s,}}\]]+)', re.I
)
_KEYED_PAIR = re.compile(rf"(?<![\w-])({_KEY}=)[^\s&\"'<>]+", re.I)
_SCHEMED = re.compile(r"\b(Bearer|Basic)\s{1,5}[\w.+/=-]+", re.I)
_JWT = re.compile(r"eyJ[\w-]+(?:\.[\w-]*){0,4}")
_EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40|\\u0040)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", re.I)
_URL = r"\b[a-z][a-z0-9+.-]{0,20}:(?:\\?/){2}"
_URL_USER = re.compile(rf"({_URL})[^\s\"'<>/@]{{1,300}}@", re.I)
_URL_TAIL = re.compile(rf"({_URL}[^\s\"'<>?#]{{0,2000}})[?#][^\s\"'<>]*", re.I)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def redacted(text: str, known_secrets: Iterable[str] = (), limit: int = EXCERPT_CHARS) -> str:
    """Return the text on one line, without tokens, passwords, e-mails and URL queries.

    known_secrets are taken out wherever they stand, also when no pattern would know them.
    """
    for secret in sorted(known_secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for form in {secret, json.dumps(secret)[1:-1], _quoted(secret)}:
                text = text.replace(form, "[secret]")
    if len(text) > _LOOKED_AT_CHARS:
        text = text[:_LOOKED_AT_CHARS]
        text = text[: max(text.rfind(" "), text.rfind(","), text.rfind("\n")) + 1]
    text = _URL_USER.sub(r"\1", text)
    text = _URL_TAIL.sub(r"\1?[secret]", text)
    text = _KEYED_STRING.sub(r'\1"[secret]"', text)
    text = _KEYED_PAIR.sub(r"\1[secret]", text)
    text = _SCHEMED.sub(r"\1 [secret]", text)
    text = _JWT.sub("[secret]", text)
    text = _EMAIL.sub("[e-mail]", text)
    return _UNPRINTABLE.sub(" ", text).strip()[:limit]


def _quoted(secret: str) -> str:
    return quote(secret, safe="", errors="replace")
