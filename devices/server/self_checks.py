"""Checks that what we override inside libraries is still called by them.

Each library stands behind one module of ours. A new version that no longer calls an override would
take a protection away without a word; the start, and `manage.py check`, refuse it instead.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.internal.flows import password_reset
from django.core.checks import CheckMessage, Error, register
from django_q.cluster import Sentinel
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from devices.notifications.providers import PROVIDERS
from devices.rainmaker.address_guard import ForbiddenAddress
from devices.rainmaker.deadline_connections import WatchedAdapter
from devices.security.allauth_adapters import InvitedOnly
from devices.server import web_worker
from devices.server.web_worker import Connection, Server


def urllib3_connects_through_us() -> bool:
    """Does a connection that no exchange watches get refused, before any address is called?"""
    pool = WatchedAdapter().poolmanager.connection_from_url("http://127.0.0.1:9/")
    secure = WatchedAdapter().poolmanager.connection_from_url("https://127.0.0.1:9/")
    return all(_is_refused(one.ConnectionCls("127.0.0.1", 9)) for one in (pool, secure))


def _is_refused(connection: Any) -> bool:
    try:
        connection.connect()
    except ForbiddenAddress:
        return True
    except OSError:
        return False
    connection.close()
    return False


def allauth_asks_our_adapter() -> bool:
    """Do mails and counts of wrong passwords go through our adapter?"""
    return isinstance(get_adapter(), InvitedOnly) and all(
        _calls(caller, name) and callable(getattr(DefaultAccountAdapter, name, None))
        for caller, name in (
            (DefaultAccountAdapter.pre_authenticate, "_get_login_attempts_cache_key"),
            (DefaultAccountAdapter.authenticate, "_rollback_login_failed_rl_usage"),
            (DefaultAccountAdapter.render_mail, "format_email_subject"),
            (password_reset.request_password_reset, "get_reset_password_from_key_url"),
        )
    )


def apprise_has_every_service() -> bool:
    """Is there a plugin for each service that is offered? None of them is loaded for it."""
    spec = find_spec("apprise")
    folders = [Path(one) for one in (spec and spec.submodule_search_locations) or ()]
    return all(
        any(
            (folder / "plugins" / name).exists()
            for folder in folders
            for name in (f"{one.module}.py", one.module)
        )
        for one in PROVIDERS.values()
    )


def waitress_asks_our_server() -> bool:
    """Do slow connections get closed, and does /healthz have a thread of its own?"""
    return (
        Server.channel_class is Connection
        and Connection.task_class is web_worker.Answer
        and Connection.error_task_class is web_worker.Refusal
        and _calls(BaseWSGIServer.readable, "maintenance")
        and _calls(BaseWSGIServer.handle_accept, "channel_class")
        and _calls(BaseWSGIServer.add_task, "task_dispatcher")
        and _calls(HTTPChannel.received, "add_task")
        and _calls(HTTPChannel.handle_read, "received")
        and _calls(HTTPChannel.service, "task_class", "error_task_class")
    )


def django_q_spawns_through_us() -> bool:
    """Can a cluster have threads for its processes, and is a task that overran its time noticed?"""
    spawning = (Sentinel.spawn_worker, Sentinel.spawn_pusher, Sentinel.spawn_monitor)
    return all(_calls(one, "spawn_process") for one in spawning) and _calls(
        Sentinel.guard, "pool", "timer", "is_alive", "reincarnate", "stop_event", "wait"
    )


def _calls(function: Callable[..., Any], *names: str) -> bool:
    return set(names) <= set(function.__code__.co_names)


CHECKS: dict[str, Callable[[], bool]] = {
    "urllib3": urllib3_connects_through_us,
    "django-allauth": allauth_asks_our_adapter,
    "apprise": apprise_has_every_service,
    "waitress": waitress_asks_our_server,
    "django-q2": django_q_spawns_through_us,
}


def faults() -> list[str]:
    """Return a sentence for each library that no longer does what we rely on."""
    return [
        f"The installed version of {library} does not fit this product: install the versions that "
        "requirements.txt names."
        for library, is_fit in CHECKS.items()
        if not is_fit()
    ]


@register()
def check_libraries(**_: object) -> list[CheckMessage]:
    """Report each fault to manage.py check."""
    return [Error(fault, id=f"devices.E{number}") for number, fault in enumerate(faults(), 1)]
