"""Who may use the JSON API, and how often."""

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja.security.base import AuthBase

from devices.api.errors import ApiError, too_often
from devices.audit import log as audit_log
from devices.fleet.looking import note_look
from devices.households import api_tokens
from devices.models import Actor, ApiToken, AuditAction, Outcome, Scope, StaffRole
from devices.permissions import Right, may, role_in, why_staff
from devices.security.rate_limits import address_of, spend
from devices.security.request_origin import origin

# For each token: installs, counted within its requests.
INSTALLS_A_MINUTE = 10
# For each address: wrong tokens, against guessing.
WRONG_TOKENS_A_MINUTE = 30

RIGHTS = {Scope.READ: Right.LOOK, Scope.INSTALL: Right.INSTALL}


class TokenRequest(HttpRequest):
    """A request with a valid token."""

    auth: ApiToken


class BearerToken(AuthBase):
    """Accepts a valid token of this scope, within a rate limit. Cookies are ignored, so no form of
    another site can act for a person.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> ApiToken:
        """Return the token. Raises ApiError when it is invalid or over its limit."""
        token = _token_in(request)
        wait_s = spend(f"token:{token.pk}", settings.API_ASKS_A_MINUTE)
        if not wait_s and self.scope == Scope.INSTALL:
            wait_s = spend(f"install:{token.pk}", INSTALLS_A_MINUTE)
        if wait_s:
            raise too_often(wait_s)
        if not self._includes(token):
            _record_refusal(request, token)
            sentence = "This token may read, but not install. Nothing was sent to any hub."
            raise ApiError(403, "no_right", sentence)
        request.META["PERSON"] = token.user_id
        _note_staff(request, token)
        note_look([token.household], timezone.now())
        token.used(timezone.now())
        return token

    def _includes(self, token: ApiToken) -> bool:
        is_in_scope = self.scope == Scope.READ or token.scope == Scope.INSTALL
        return is_in_scope and may(token.user, RIGHTS[self.scope], token.household)


def actor_of(token: ApiToken, request: HttpRequest) -> Actor:
    """Return the token's person as an actor, with where the request comes from."""
    role = role_in(token.user, token.household)
    return Actor.person(token.user, role=role, via="api", **origin(request))


def _token_in(request: HttpRequest) -> ApiToken:
    header = request.headers.get("Authorization", "")
    kind, _, text = header.partition(" ")
    token = api_tokens.find(text.strip(), timezone.now()) if kind.lower() == "bearer" else None
    if token is not None:
        return token
    guesses = f"wrong-token:{address_of(request)}"
    if header and (wait_s := spend(guesses, WRONG_TOKENS_A_MINUTE)):
        raise too_often(wait_s)
    raise ApiError(
        401,
        "no_token",
        "This address needs a token of yours that is still good, sent as Authorization: Bearer.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _note_staff(request: HttpRequest, token: ApiToken) -> None:
    """Record in the household's trail that staff looked, once a day and token, as on pages."""
    today, last = timezone.now().date(), token.last_used_at
    if not token.user.staff_role or (last is not None and last.date() == today):
        return
    role = role_in(token.user, token.household)
    if role in StaffRole.values:
        audit_log.record(
            actor_of(token, request),
            AuditAction.ACCESS_STAFF,
            f"{token.user.email} of {role} looked into {token.household} with an API token.",
            household=token.household,
            why=why_staff(token.household, role),
            detail={"token_id": token.pk, "path": request.path},
        )


def _record_refusal(request: HttpRequest, token: ApiToken) -> None:
    audit_log.record(
        actor_of(token, request),
        AuditAction.ACCESS_REFUSED,
        f"The token “{token.name}” of {token.user.email} may not install in {token.household}.",
        household=token.household,
        outcome=Outcome.REFUSED,
        why="the scope or the role does not include this right",
        detail={"token_id": token.pk, "scope": token.scope, "path": request.path},
    )
