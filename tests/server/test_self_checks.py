"""Libraries are checked at every start: a version that drops an override is refused."""

from typing import Any

import pytest
from allauth.account.adapter import DefaultAccountAdapter
from django.core.checks import run_checks
from urllib3.connection import HTTPConnection
from waitress.server import BaseWSGIServer

from devices.notifications import providers
from devices.rainmaker import deadline_connections
from devices.server import self_checks


def test_the_installed_versions_fit() -> None:
    assert self_checks.faults() == []
    assert not [one for one in run_checks() if str(one.id).startswith("devices.")]


def does_nothing(*_: Any) -> None:
    """Stands for a library's own code that no longer asks us."""


class Unwatched(HTTPConnection):
    def connect(self) -> None:
        """Connect without asking anybody."""


@pytest.mark.parametrize(
    ("library", "owner", "name", "value"),
    [
        ("urllib3", deadline_connections._WatchedPool, "ConnectionCls", Unwatched),
        ("django-allauth", DefaultAccountAdapter, "pre_authenticate", does_nothing),
        ("django-allauth", DefaultAccountAdapter, "render_mail", does_nothing),
        ("waitress", BaseWSGIServer, "readable", does_nothing),
        ("waitress", BaseWSGIServer, "add_task", does_nothing),
    ],
)
def test_a_version_that_does_not_ask_us_is_named(
    monkeypatch: pytest.MonkeyPatch, library: str, owner: type, name: str, value: object
) -> None:
    monkeypatch.setattr(owner, name, value)
    [fault] = self_checks.faults()
    assert library in fault
    assert "requirements.txt" in fault


def test_a_service_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = providers.ProviderSpec("Gone", "no_such_plugin", "NotifyGone")
    monkeypatch.setitem(providers.PROVIDERS, "gone", gone)
    [fault] = self_checks.faults()
    assert "apprise" in fault
