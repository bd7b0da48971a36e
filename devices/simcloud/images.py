"""Firmware images as the cloud serves them: by a signed link that expires, like a pre-signed one.

The bytes are made up from version and size, the same every time. The signature covers the version,
the size and the time of expiry; a link that was changed or is too old is answered with 403, as
object stores do. Faults may be set for the path IMAGE as for any other.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from functools import lru_cache
from urllib.parse import urlencode

from devices.simcloud.app import Call, Routes
from devices.simcloud.jobs import Job
from devices.simcloud.wire import Answer

IMAGE = "/firmware/image"
LINK_LIFE_S = 86_400
LARGEST_BYTES = 64_000_000


def add(routes: Routes) -> None:
    routes.add("GET", IMAGE, is_open=True)(serve)


@lru_cache(maxsize=4)
def content(version: str, size: int) -> bytes:
    """Return the image: an ESP32 image begins with E9 (Espressif's image format)."""
    return b"\xe9" + random.Random(version).randbytes(max(size - 1, 0))


@lru_cache(maxsize=64)
def md5_of(version: str, size: int) -> str:
    return hashlib.md5(content(version, size), usedforsecurity=False).hexdigest()


def link(call: Call, job: Job) -> str:
    """Return a fresh link to the job's image at the address the caller knows us by."""
    expires = int(call.world.clock.wire_now()) + LINK_LIFE_S
    asked = {"version": job.fw_version, "size": str(job.file_size), "expires": str(expires)}
    asked["signature"] = _sign(call, asked)
    host = call.request.headers.get("host", "127.0.0.1")
    return f"http://{host}{IMAGE}?{urlencode(asked)}"


def serve(call: Call) -> Answer:
    """Answer with the image, or 403 where the link is not good."""
    asked = dict(call.request.query)
    given = asked.pop("signature", "")
    expires, size = asked.get("expires", ""), asked.get("size", "")
    is_ours = hmac.compare_digest(given.encode(), _sign(call, asked).encode())
    is_good = is_ours and expires.isdigit() and size.isdigit() and int(size) <= LARGEST_BYTES
    if not is_good or int(expires) < call.world.clock.wire_now():
        body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        return Answer(403, body, {"Content-Type": "application/xml"})
    octets = {"Content-Type": "application/octet-stream"}
    return Answer(200, content(asked["version"], int(size)), octets)


def _sign(call: Call, asked: dict[str, str]) -> str:
    text = "\n".join(asked.get(name, "") for name in ("version", "size", "expires"))
    return hmac.new(call.world.secret, text.encode(), hashlib.sha256).hexdigest()
