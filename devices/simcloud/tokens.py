"""Tokens shaped like the real cloud's: JWTs with Cognito claims that clients decode and trust.

No client verifies the signature (esp-rainmaker-cli, pythermacell, the phone apps), so it is an
HMAC under this cloud's own secret; this side does verify it. Two clients decode the payload with
plain base64, so a payload is never issued whose base64url text holds a `-` or a `_`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from typing import Any

_ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_SimCloud0"
REFRESH_LIFE_S = 30 * 86_400  # Unverified: the real life of a refresh token is not documented


class BadToken(ValueError):
    """Not a token of this cloud, or not of this kind."""


class ExpiredToken(BadToken):
    """Was valid once."""


def new_id() -> str:
    return secrets.token_hex(16)


def access_claims(user_id: str, session: str, version: int) -> dict[str, Any]:
    return {
        "sub": user_id,
        "iss": _ISSUER,
        "client_id": "1h7ujqjs8140n17v0ahb4n51m2",
        "origin_jti": session,
        "event_id": str(version),
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin",
        "username": user_id,
    }


def id_claims(user_id: str, email: str, session: str, version: int) -> dict[str, Any]:
    return {
        "sub": user_id,
        "email_verified": True,
        "iss": _ISSUER,
        "cognito:username": user_id,
        "aud": "1h7ujqjs8140n17v0ahb4n51m2",
        "origin_jti": session,
        "event_id": str(version),
        "token_use": "id",
        "custom:user_id": user_id,
        "custom:maintainer": "false",
        "email": email,
    }


def refresh_claims(user_id: str, session: str, version: int) -> dict[str, Any]:
    return {"sub": user_id, "origin_jti": session, "event_id": str(version), "token_use": "refresh"}


def issue(secret: bytes, claims: dict[str, Any], now: float, life_s: float) -> str:
    """A signed token of these claims, valid `life_s` seconds from wire second `now`."""
    stamped = claims | {"auth_time": int(now), "iat": int(now), "exp": int(now + life_s)}
    text = json.dumps(stamped | {"jti": new_id()})
    for letter in "~?>":  # the only ASCII letters base64url turns into - or _
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    payload = _encode(text.encode())
    head = _encode(json.dumps({"kid": "simcloud", "alg": "HS256"}).encode())
    return f"{head}.{payload}.{_sign(secret, head, payload)}"


def read(secret: bytes, token: str, use: str, now: float) -> dict[str, Any]:
    """The claims of a genuine token for that use. Raises BadToken or ExpiredToken."""
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise BadToken("not three parts")
    head, payload, signature = parts
    if not hmac.compare_digest(signature, _sign(secret, head, payload)):
        raise BadToken("signature")
    try:
        claims: dict[str, Any] = json.loads(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
    except (ValueError, binascii.Error) as error:
        raise BadToken("payload") from error
    if claims.get("token_use") != use:
        raise BadToken(f"not a token for {use}")
    if now >= claims["exp"]:
        raise ExpiredToken("expired")
    return claims


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(secret: bytes, head: str, payload: str) -> str:
    return _encode(hmac.digest(secret, f"{head}.{payload}".encode(), hashlib.sha256))
