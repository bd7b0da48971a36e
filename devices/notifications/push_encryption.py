"""Encrypt a push message for one browser (RFC 8291, with RFC 8188's aes128gcm), and the signature
by which a push service knows this server (VAPID, RFC 8292).

Only the browser can read a message: its push service carries it and sees about how long it is.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()
RECORD_BYTES = 4096
# A push service need not take more than 4,096 bytes in all (RFC 8030, section 7.2).
MOST_BYTES = 3000
# Messages are padded to a multiple of this, so that their length says little.
PAD_BYTES = 256
SALT_BYTES, AUTH_BYTES, POINT_BYTES = 16, 16, 65
SIGNATURE_LASTS_S = 12 * 3600


def encrypt(
    content: bytes,
    public_key: bytes,
    auth: bytes,
    *,
    own_key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes = b"",
    pads: bool = True,
) -> bytes:
    """Return the body of one push message. Raises ValueError for keys that are none.

    public_key: the browser's, 65 bytes; auth: its secret, 16 bytes. own_key and salt are fresh for
    each message; only a test gives them.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"a push message has at most {MOST_BYTES} bytes")
    theirs = read_point(public_key)
    own_key = own_key or ec.generate_private_key(CURVE)
    salt = salt or secrets.token_bytes(SALT_BYTES)
    own_point = point_of(own_key)
    shared = own_key.exchange(ec.ECDH(), theirs)
    secret = _derive(shared, auth, b"WebPush: info\0" + public_key + own_point, 32)
    key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    padded = content + b"\x02"  # the last record
    if pads:
        padded += bytes(-len(padded) % PAD_BYTES)
    sealed = AESGCM(key).encrypt(nonce, padded, None)
    head = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(own_point)])
    return head + own_point + sealed


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def authorization(
    private_key: ec.EllipticCurvePrivateKey, audience: str, contact: str, now: float
) -> str:
    """Return the Authorization header for a push service with this origin, good for 12 hours."""
    claims = {"aud": audience, "exp": int(now) + SIGNATURE_LASTS_S, "sub": contact}
    token = jwt.encode(claims, private_key, algorithm="ES256")
    return f"vapid t={token}, k={to_text(point_of(private_key))}"


def read_point(point: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of an uncompressed point; raises ValueError when it is none."""
    if len(point) != POINT_BYTES:
        raise ValueError("not an uncompressed point of P-256")
    return ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)


def point_of(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public key as an uncompressed point, 65 bytes."""
    public = private_key.public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def to_text(data: bytes) -> str:
    """Return base64url without padding, as browsers give and take keys."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def from_text(text: str) -> bytes:
    """Return the bytes of base64url, padded or not; raises ValueError."""
    stripped = text.rstrip("=")
    if not stripped.isascii():
        raise ValueError("not base64url")
    data = urlsafe_b64decode(stripped + "=" * (-len(stripped) % 4))
    if to_text(data) != stripped:
        raise ValueError("not base64url")
    return data
