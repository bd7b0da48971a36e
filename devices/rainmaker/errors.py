"""Everything that can go wrong with the cloud, as one tree ordered by what the caller does next.

    TryLater      Busy, CallRefused, ServerTrouble, Unreachable, AnswerLost, AnswerUnreadable
    SignInAgain   the session is over and only the person can open a new one
    TellPerson    HubOffline, NotYourHub, NotPermitted, OfferGone, NoOtaStatus: the cloud refused
    OurBug        the cloud calls our request malformed
    NotTrusted    we do not talk to this server; NotAllowed: the administrator did not allow it;
                  AnotherUser: it answered with the session of another person

str() of every one of them is an English sentence without secrets, fit to be shown to a person.
"""

from __future__ import annotations

from collections.abc import Mapping


class CloudError(Exception):
    """One failed call to the cloud. Texts given here must already be free of secrets."""

    retry_after_s: float | None = None
    """How long the cloud asked us to wait, at most an hour; None when it did not say."""

    def __init__(
        self,
        sentence: str,
        *,
        endpoint: str = "",
        status: int | None = None,
        code: int | None = None,
        description: str = "",
        excerpt: str = "",
        was_sent: bool | None = None,
        refused: bool = False,
        message_code: str = "",
        values: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(sentence % values if values else sentence)
        self.message_code = message_code
        """Names the sentence in other languages; empty for most. Its holes are then in values."""
        self.values = values or {}
        self.endpoint = endpoint
        """Method and path, such as "GET /v1/user/nodes"; never a query."""
        self.status = status
        """HTTP status, None when no answer came."""
        self.code = code
        """The cloud's own error_code, None when it gave none."""
        self.description = description
        """The cloud's own words, redacted."""
        self.excerpt = excerpt
        """The beginning of the answer, redacted, at most 300 characters."""
        self.was_sent = was_sent
        """False: it certainly never reached the cloud. True: the cloud answered. None: unknown."""
        self.refused = refused
        """Whether the cloud itself turned the request down before acting on it."""

    @property
    def nothing_happened(self) -> bool:
        """Whether the request certainly had no effect, so that sending it again is safe."""
        return self.was_sent is False or self.refused


class TryLater(CloudError):
    """Nothing is wrong with the request; the same one may work later."""


class Busy(TryLater):
    """The cloud asked for fewer requests: 423 (an OTA job that serialises its hubs) or 429."""


class CallRefused(TryLater):
    """401 or 403 to one call. The session stays: only a refused extension ends it."""


class ServerTrouble(TryLater):
    """The cloud answered 5xx. For a request that acts, the effect is unknown."""


class Unreachable(TryLater):
    """No connection came about, so nothing was sent: DNS, refused, connect time-out, proxy."""


class AnswerLost(TryLater):
    """The request went out and no whole answer came back. It may have taken effect."""


class AnswerUnreadable(TryLater):
    """Something answered, but not what the API promises: not JSON, too large, wrong types."""


class NoVersion(AnswerUnreadable):
    """The hub's configuration is readable, but names no usable firmware version."""


class SignInAgain(CloudError):
    """The cloud refused the password or the extension of the session; a person has to sign in."""


class TellPerson(CloudError):
    """The cloud understood the request and refused it for a reason a person should read."""


class HubOffline(TellPerson):
    """The hub is offline, so the cloud did not send it the update (102001)."""


class NotYourHub(TellPerson):
    """The hub is not in this account (103013, 103020, 100010) or does not exist (100015)."""


class NotPermitted(TellPerson):
    """The account may not do this (403), such as a secondary user who may not update."""


class OfferGone(TellPerson):
    """The job is no longer the one on offer (105061) or never was for this hub (105036)."""


class NoOtaStatus(TellPerson):
    """The cloud has no status for this hub and job (105024)."""


class OurBug(CloudError):
    """The cloud calls the request malformed, or we would have sent a malformed one."""


class NotTrusted(CloudError):
    """TLS failed, the server pointed elsewhere, or its address may not be sent secrets."""


class NotAllowed(NotTrusted):
    """The administrator did not list this cloud as one that may be called."""


class AnotherUser(NotTrusted):
    """The cloud answered with the session of another user than the linked one."""
