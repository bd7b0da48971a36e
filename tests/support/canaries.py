"""Finding a secret wherever it ended up, also when it was packed on the way there."""

import base64
import binascii
import html
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

_PACKED = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_DEPTH = 3


def forms(secret: str) -> set[bytes]:
    """Return the secret as it would look in a log, a page, an address, JSON or base64."""
    raw = secret.encode()
    plain = {secret, quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    found = {form.encode() for form in plain} | {
        json.dumps(secret)[1:-1].encode(),
        raw.hex().encode(),
    }
    for shift in range(3):  # wherever it begins within a longer text that was packed
        packed = base64.b64encode(b"x" * shift + raw)
        inner = packed[-(-shift * 4 // 3) + 1 : len(packed) - 4] if shift else packed[:-4]
        if len(inner) >= 12:
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def unpacked(data: bytes, depth: int = _DEPTH) -> Iterator[bytes]:
    """Yield the data and what is inside of it, base64 and zlib taken off: sessions, tasks."""
    yield data
    if depth == 0:
        return
    for match in _PACKED.finditer(data):
        text = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        try:
            inner = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            continue
        for piece in (inner, _inflated(inner)):
            if piece:
                yield from unpacked(piece, depth - 1)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, 10_000_000)
    except zlib.error:
        return b""


def leaks(places: dict[str, bytes], secrets: dict[str, str]) -> set[tuple[str, str]]:
    """Return (which secret, where) for each of the secrets found in any of the places."""
    wanted = {name: forms(secret) for name, secret in secrets.items() if secret}
    found = set()
    for place, data in places.items():
        pieces = list(unpacked(data))
        for name, shapes in wanted.items():
            if any(shape in piece for piece in pieces for shape in shapes):
                found.add((name, place))
    return found


def files(folder: Path, *, but: frozenset[str] = frozenset()) -> dict[str, bytes]:
    """Return every file below the folder; those named in `but` are left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }
