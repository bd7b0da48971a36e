"""How often a page may be asked, for each person and each address."""

from collections.abc import Callable
from functools import wraps

from allauth.core.internal import ratelimit
from django.http import HttpRequest, HttpResponse

View = Callable[..., HttpResponse]


def limited(action: str) -> Callable[[View], View]:
    """Answer 429 when ACCOUNT_RATE_LIMITS has no more of this action left."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: object, **values: object) -> HttpResponse:
            # looking at a link is counted like using it: a GET tells that the link is good
            if not ratelimit.consume(request, app="allauth.account", action=action, limit_get=True):
                return too_many(request)
            return view(request, *args, **values)

        return guarded

    return decorate


def too_many(request: HttpRequest) -> HttpResponse:
    """Return the page that asks for patience."""
    answer: HttpResponse = ratelimit.respond_429(request)
    return answer
