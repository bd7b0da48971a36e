"""A push service of ours over https, and a browser that can read what it was sent.

Nothing of the product is used to read it: RFC 8291, RFC 8188 and RFC 8292 are followed by hand.
"""

import hmac
import json
import ssl
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from devices.models import PushDevice, User
from devices.notifications import push_devices
from tests.support.certificates import Authority, written
from tests.support.factories import person
from tests.support.hostile_server import HostileServer, Seen, reply

PLACE = "/send/one-browser"


def to_bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class Browser:
    """The keys of one browser's subscription."""

    def __init__(self, private: int | None = None, auth: bytes = b"sixteen bytes :)") -> None:
        curve = ec.SECP256R1()
        self._key = (
            ec.derive_private_key(private, curve) if private else ec.generate_private_key(curve)
        )
        self.auth = auth

    @property
    def point(self) -> bytes:
        return self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )

    def fields(self, endpoint: str) -> dict[str, str]:
        """Return what the page's form sends."""
        keys = {"p256dh": to_text(self.point), "auth": to_text(self.auth)}
        return {"endpoint": endpoint, **keys}

    def read(self, body: bytes) -> bytes:
        """Return the content of a message; fails for one that is not encrypted for this browser."""
        salt, length = body[:16], body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert int.from_bytes(body[16:20], "big") >= len(sealed)  # one record
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        shared = self._key.exchange(ec.ECDH(), point)
        secret = _hkdf(self.auth, shared, b"WebPush: info\0" + self.point + sender, 32)
        key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, sealed, None)
        content, mark, _ = padded.rpartition(b"\x02")
        assert mark
        return content


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF of RFC 5869 with SHA-256, for up to 32 bytes."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")[:length]


def read_signature(header: str) -> tuple[dict[str, Any], str]:
    """Return the claims of a VAPID header and the key that signed them; fails for a wrong one."""
    scheme, _, rest = header.partition(" ")
    assert scheme == "vapid"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    head, claims, signature = parts["t"].split(".")
    assert json.loads(to_bytes(head))["alg"] == "ES256"
    raw = to_bytes(signature)
    assert len(raw) == 64
    halves = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), to_bytes(parts["k"]))
    point.verify(
        encode_dss_signature(*halves), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256())
    )
    return json.loads(to_bytes(claims)), parts["k"]


class PushService:
    """A push service on this machine; as the administrator named it, it may be called."""

    def __init__(self, folder: Path, settings: Any, monkeypatch: Any) -> None:
        authority = Authority()
        certificate, key = authority.issue("127.0.0.1")
        paths = written(folder, authority=authority.pem, certificate=certificate, key=key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths["certificate"], paths["key"])
        self.server = HostileServer(tls=context)
        self.server.on(f"POST {PLACE}", reply(201))
        self.endpoint = self.server.url + PLACE
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(paths["authority"]))
        settings.PUSH_HOSTS = (f"127.0.0.1:{self.server.port}",)

    def __enter__(self) -> "PushService":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @property
    def seen(self) -> list[Seen]:
        posts = [one for one in self.server.requests if one.method == "POST"]
        return [one for one in posts if one.path.startswith(PLACE)]

    def answers(self, *statuses: int) -> None:
        self.server.on(f"POST {PLACE}", *(reply(status) for status in statuses))

    def subscribe(self, user: User, browser: Browser, path: str = "") -> PushDevice:
        """Add the browser as a device of this person, as its page does."""
        fields = browser.fields(self.endpoint + path)
        given = push_devices.read_subscription(*fields.values())
        return push_devices.add(
            user, given, name="Firefox on Android", browser="Firefox Android", actor=person(user)
        )

    def check(self, seen: Seen, contact: str) -> None:
        """Fail unless the request is signed for this service, and not for long."""
        claims, key = read_signature(seen.headers["authorization"])
        assert claims["aud"] == self.server.url
        assert claims["sub"] == contact
        assert time.time() < claims["exp"] <= time.time() + 24 * 3600
        assert len(to_bytes(key)) == 65
