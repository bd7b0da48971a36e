"""Trying things out with simulated hubs in a running installation, beside real ones.

`manage.py start` sets an address aside for a simulated cloud, settings.TRIAL_CLOUD_URL, and starts
that cloud once it is asked for. A file in the data folder asks, with the port in it: linked
accounts remember the address, so later starts keep to that port.
"""

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from devices.accounts.linking import link_account
from devices.models import AccountState, Actor, CloudAccount, Household

# Of the simulated cloud alone, which listens to this machine only: there is nothing to protect.
EMAIL = "trial@simulated.example"
PASSWORD = "only-simulated-hubs"  # noqa: S105
HUBS = 6
STARTS_WITHIN_S = 15
LINKS_WITHIN_S = 30  # from the request until an account must be there
LOOKS_EVERY_S = 0.2


class DoesNotStart(Exception):
    """The simulated cloud does not answer; nothing was linked."""


def folder() -> Path:
    """Return where the simulated cloud keeps its world, and where it is asked for."""
    return Path(settings.DATA_DIR) / "trial"


def is_possible() -> bool:
    """Return whether a simulated cloud can be started here."""
    return bool(settings.TRIAL_CLOUD_URL)


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def asked_port() -> int | None:
    """Return the port of the cloud that was asked for, None without a request."""
    try:
        return int(_request_file().read_text())
    except (FileNotFoundError, ValueError):
        return None


def is_in_use(base_url: str) -> bool:
    """Return whether an account there is still linked."""
    unlinked = AccountState.UNLINKED
    return CloudAccount.objects.filter(base_url=base_url).exclude(state=unlinked).exists()


def is_linked() -> bool:
    """Return whether an account is linked at the cloud that was asked for."""
    port = asked_port()
    return port is not None and is_in_use(address(port))


def is_over() -> bool:
    """Return whether it was asked for a while ago and no account is linked there any more."""
    if is_linked():
        return False
    try:
        return time.time() - _request_file().stat().st_mtime > LINKS_WITHIN_S / settings.ENGINE_PACE
    except FileNotFoundError:
        return True


def recall() -> None:
    """Ask for the cloud of an account that is linked without a request, as after a restore.

    A backup holds the account and not the cloud's world: its hubs begin as they were at first.
    """
    if asked_port() is not None:
        return
    linked = CloudAccount.objects.filter(email=EMAIL).exclude(state=AccountState.UNLINKED)
    for account in linked:
        port = urlsplit(account.base_url).port
        if account.is_simulated and port:
            folder().mkdir(parents=True, exist_ok=True)
            _request_file().write_text(str(port))
            return


def forget() -> None:
    """Withdraw the request. The simulated world stays, for a later try."""
    _request_file().unlink(missing_ok=True)


def begin(household: Household, *, actor: Actor) -> CloudAccount:
    """Have the simulated cloud started and link its account to the household.

    Raises DoesNotStart when it does not answer in time, and CloudError as link_account does.
    """
    port = urlsplit(settings.TRIAL_CLOUD_URL).port
    if port is None:
        raise DoesNotStart
    folder().mkdir(parents=True, exist_ok=True)
    _request_file().write_text(str(port))
    deadline = time.monotonic() + STARTS_WITHIN_S / settings.ENGINE_PACE
    while not _listens(port):
        if time.monotonic() > deadline:
            raise DoesNotStart
        time.sleep(LOOKS_EVERY_S)
    return link_account(
        household=household,
        base_url=settings.TRIAL_CLOUD_URL,
        email=EMAIL,
        password=PASSWORD,
        keep_password=True,
        actor=actor,
    )


def _request_file() -> Path:
    return folder() / "port"


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
