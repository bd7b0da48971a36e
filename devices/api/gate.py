"""Who may ask, how often, and how a refusal reads: the same for every JSON address."""

import time
from collections.abc import Callable, Sequence
from functools import wraps

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from devices.middleware import origin
from devices.models import Actor, ApiToken, Outcome, Scope, audit
from devices.policies import Reason, Right, may, role_in

WINDOW_S = 60
# For each token, of those that it may ask in all.
INSTALLS_A_MINUTE = 10
# For each address: wrong tokens, so that none is found by trying.
WRONG_TOKENS_A_MINUTE = 30

RIGHTS = {Scope.READ: Right.LOOK, Scope.INSTALL: Right.INSTALL}
ApiView = Callable[..., JsonResponse]


def problem(
    status: int, code: str, sentence: str, reasons: Sequence[Reason] = (), **headers: str
) -> JsonResponse:
    """Return an error: a code for programs, a sentence for people."""
    told = {
        "code": code,
        "sentence": sentence,
        "reasons": [{"code": one.code, "sentence": one.sentence} for one in reasons],
    }
    answer = JsonResponse({"error": told}, status=status)
    for name, value in headers.items():
        answer[name.replace("_", "-")] = value
    return answer


def not_a_verb(methods: Sequence[str]) -> JsonResponse:
    sentence = f"This address answers {' and '.join(methods)} only."
    return problem(405, "method_not_allowed", sentence, Allow=", ".join(methods))


def for_token(scope: Scope, *, methods: Sequence[str]) -> Callable[[ApiView], ApiView]:
    """Let only a good token of this scope through, so often a minute; the view gets the token.

    Cookies do not count here, so no form of another site can ask in a person's name.
    """

    def decorate(view: ApiView) -> ApiView:
        @csrf_exempt
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, **values: str) -> JsonResponse:
            if request.method not in methods:
                return not_a_verb(methods)
            token = _token_in(request)
            if isinstance(token, JsonResponse):
                return token
            wait_s = spend(f"token:{token.pk}", settings.API_ASKS_A_MINUTE)
            if not wait_s and scope == Scope.INSTALL:
                wait_s = spend(f"install:{token.pk}", INSTALLS_A_MINUTE)
            if wait_s:
                return too_often(wait_s)
            refused = _why_not(request, token, scope)
            if refused is not None:
                return refused
            token.used(timezone.now())
            return view(request, token, **values)

        return guarded

    return decorate


def actor_of(token: ApiToken, request: HttpRequest) -> Actor:
    """Return the token's person as an actor, with where the request comes from."""
    role = role_in(token.user, token.household)
    return Actor.person(token.user, role=role, via="api", **origin(request))


def spend(what: str, most: int) -> int:
    """Count one use in this minute; return the seconds to wait when there were too many."""
    now = time.time()
    key = f"api:{what}:{int(now // WINDOW_S)}"
    if cache.add(key, 1, WINDOW_S * 2):
        return 0
    try:
        used = cache.incr(key)
    except ValueError:  # it ran out between the two
        return 0
    return WINDOW_S - int(now % WINDOW_S) if used > most else 0


def too_often(wait_s: int) -> JsonResponse:
    sentence = f"That was too often. Nothing was done; try again in {wait_s} seconds."
    return problem(429, "too_often", sentence, Retry_After=str(wait_s))


def _token_in(request: HttpRequest) -> ApiToken | JsonResponse:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    token = ApiToken.find(text.strip()) if kind.lower() == "bearer" else None
    if token is not None and may(token.user, Right.LOOK, token.household):
        return token
    wait_s = spend(f"wrong:{origin(request)['address']}", WRONG_TOKENS_A_MINUTE)
    if wait_s:
        return too_often(wait_s)
    return problem(
        401,
        "no_token",
        "This address needs a token of yours that is still good, sent as Authorization: Bearer.",
        WWW_Authenticate="Bearer",
    )


def _why_not(request: HttpRequest, token: ApiToken, scope: Scope) -> JsonResponse | None:
    is_in_scope = scope == Scope.READ or token.scope == Scope.INSTALL
    if is_in_scope and may(token.user, RIGHTS[scope], token.household):
        return None
    audit.record(
        actor_of(token, request),
        "access.refused",
        f"The token “{token.name}” of {token.user.email} may not install in {token.household}.",
        household=token.household,
        outcome=Outcome.REFUSED,
        why="the scope or the role does not include this right",
        detail={"token_id": token.pk, "scope": token.scope, "path": request.path},
    )
    sentence = "This token may read, but not install. Nothing was sent to any hub."
    return problem(403, "no_right", sentence)
