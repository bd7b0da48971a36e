"""People with an account at the cloud: password, sessions, and what is theirs alone."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from devices.simcloud import tokens


@dataclass(slots=True)
class Account:
    email: str
    password_hash: str
    user_id: str
    version: int = 1  # raised to make every token issued so far worthless
    ended_sessions: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    custom_data: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, None] = field(default_factory=dict)  # in order; kept by World, never saved

    @classmethod
    def create(cls, email: str, password: str) -> Account:
        email = email.lower()
        return cls(email, _hashed(email, password), str(uuid.uuid5(uuid.NAMESPACE_URL, email)))

    def has_password(self, password: str) -> bool:
        return hmac.compare_digest(self.password_hash, _hashed(self.email, password))

    def accepts(self, claims: dict[str, Any]) -> bool:
        """Whether the session behind these claims is still open."""
        return (
            claims["event_id"] == str(self.version)
            and claims["origin_jti"] not in self.ended_sessions
        )

    def revoke_all(self) -> None:
        self.version += 1
        self.ended_sessions.clear()

    def end_session(self, session: str) -> None:
        if session not in self.ended_sessions:
            self.ended_sessions.append(session)

    def access_and_id(
        self, secret: bytes, session: str, now: float, life_s: float
    ) -> dict[str, str]:
        access = tokens.access_claims(self.user_id, session, self.version)
        identity = tokens.id_claims(self.user_id, self.email, session, self.version)
        return {
            "idtoken": tokens.issue(secret, identity, now, life_s),
            "accesstoken": tokens.issue(secret, access, now, life_s),
        }

    def refresh(self, secret: bytes, session: str, now: float) -> str:
        claims = tokens.refresh_claims(self.user_id, session, self.version)
        return tokens.issue(secret, claims, now, tokens.REFRESH_LIFE_S)

    def to_state(self) -> dict[str, Any]:
        state = asdict(self)
        del state["nodes"]
        return state


def _hashed(email: str, password: str) -> str:
    return hashlib.sha256(f"{email}\0{password}".encode("utf-8", "surrogatepass")).hexdigest()
