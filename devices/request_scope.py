"""What is looked up once for each request, in one object."""

from functools import cached_property
from weakref import WeakKeyDictionary

from django.http import HttpRequest

from devices.models import User
from devices.permissions import households_for
from devices.taskqueue.health import WorkerStatus

# The session's key for the household the lists are narrowed to.
SELECTED_KEY = "household"


class RequestScope:
    """The answers that several parts of one page need; each costs its queries once."""

    def __init__(self, request: HttpRequest) -> None:
        user = getattr(request, "user", None)
        self.user = user if isinstance(user, User) and user.is_authenticated else None
        self._wanted = request.session.get(SELECTED_KEY) if self.user is not None else None

    @cached_property
    def household_id(self) -> int | None:
        """The household this person narrowed the lists to, or None. At most one query."""
        if self.user is None or self._wanted is None:
            return None
        return self._wanted if households_for(self.user, within=self._wanted) else None

    @cached_property
    def worker(self) -> WorkerStatus:
        """How the worker is doing."""
        return WorkerStatus.now()


_scopes: "WeakKeyDictionary[HttpRequest, RequestScope]" = WeakKeyDictionary()


def scope_of(request: HttpRequest) -> RequestScope:
    """Return the scope of this request; it ends with the request."""
    scope = _scopes.get(request)
    if scope is None:
        scope = _scopes[request] = RequestScope(request)
    return scope
