"""Services that can carry a notice, by an address as the apprise library writes them.

This server calls nobody it was not told to: only services whose host is fixed, each of them tried
(tests/test_services.py), and hosts that whoever runs it named in NOTIFY_HOSTS. Of apprise's many
plugins only the one that is needed is ever loaded.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy

log = logging.getLogger(__name__)
# apprise writes down whole addresses, which are secrets; what went wrong is said by us.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)

CONNECT_WITHIN_S, ANSWER_WITHIN_S = 4.0, 10.0


class ServiceUnusable(Exception):
    """The address is none that may be used here. str() is a sentence for people, without it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of apprise's plugins."""

    name: str
    module: str
    plugin: str
    is_fixed: bool = True
    """Does it only ever call its vendor's host? Else it calls the host in the address."""


KINDS = {
    "discord": Kind("Discord", "discord", "NotifyDiscord"),
    "gchat": Kind("Google Chat", "google_chat", "NotifyGoogleChat"),
    "ifttt": Kind("IFTTT", "ifttt", "NotifyIFTTT"),
    "pbul": Kind("Pushbullet", "pushbullet", "NotifyPushBullet"),
    "pover": Kind("Pushover", "pushover", "NotifyPushover"),
    "prowl": Kind("Prowl", "prowl", "NotifyProwl"),
    "simplepush": Kind("SimplePush", "simplepush", "NotifySimplePush"),
    "slack": Kind("Slack", "slack", "NotifySlack"),
    "tgram": Kind("Telegram", "telegram", "NotifyTelegram"),
    "threema": Kind("Threema", "threema", "NotifyThreema"),
    "wxteams": Kind("Webex", "webexteams", "NotifyWebexTeams"),
    "bark": Kind("Bark", "bark", "NotifyBark", is_fixed=False),
    "gotify": Kind("Gotify", "gotify", "NotifyGotify", is_fixed=False),
    "hassio": Kind("Home Assistant", "home_assistant", "NotifyHomeAssistant", is_fixed=False),
    "json": Kind("JSON to an address", "custom_json", "NotifyJSON", is_fixed=False),
    "nctalk": Kind("Nextcloud Talk", "nextcloudtalk", "NotifyNextcloudTalk", is_fixed=False),
    "ntfy": Kind("ntfy", "ntfy", "NotifyNtfy", is_fixed=False),
    "rocket": Kind("Rocket.Chat", "rocketchat", "NotifyRocketChat", is_fixed=False),
    "signal": Kind("Signal", "signal_api", "NotifySignalAPI", is_fixed=False),
    "synology": Kind("Synology Chat", "synology", "NotifySynology", is_fixed=False),
}


def kind_of(url: str) -> Kind | None:
    """Return what kind of service the address is of; a hosted one may be said with an s for TLS."""
    scheme = url.partition("://")[0].strip().lower()
    if (kind := KINDS.get(scheme)) is not None:
        return kind
    kind = KINDS.get(scheme.removesuffix("s"))
    return kind if kind is not None and not kind.is_fixed else None


def read_service(url: str) -> Any:
    """Return apprise's plugin for the address; raises ServiceUnusable."""
    kind = kind_of(url)
    if kind is None:
        known = ", ".join(
            f"{key}://" if one.is_fixed else f"{key}s://" for key, one in KINDS.items()
        )
        raise ServiceUnusable(
            gettext_lazy("This is no service that this server can use. It knows %(known)s.")
            % {"known": known}
        )
    from apprise import AppriseAsset  # only whoever sends pays for loading it

    asset = AppriseAsset(
        app_id="Thermacell Web",
        app_desc="Thermacell Web",
        app_url=settings.PUBLIC_URL,
        async_mode=False,
        http_redirects=False,
        secure_logging=True,
    )
    plugin = getattr(import_module(f"apprise.plugins.{kind.module}"), kind.plugin)
    try:
        said = plugin.parse_url(url)
        service = plugin(**said, asset=asset)
    except Exception as problem:  # each plugin has its own idea of what is wrong
        raise ServiceUnusable(
            gettext_lazy("This address is not complete, or misspelt. Copy it once more.")
        ) from problem
    if not kind.is_fixed:
        _require_named_host(service)
    # what the address may say about these does not count
    service.redirects, service.verify_certificate, service.retry = False, True, 0
    service.socket_connect_timeout = CONNECT_WITHIN_S
    service.socket_read_timeout = ANSWER_WITHIN_S
    return service


def _require_named_host(service: Any) -> None:
    host = str(service.host or "").lower()
    named = {host, f"{host}:{service.port}"} if service.port else {host}
    if not named & set(settings.NOTIFY_HOSTS) or getattr(service, "mode", "") == "cloud":
        allowed = ", ".join(settings.NOTIFY_HOSTS) or "none"
        raise ServiceUnusable(
            gettext_lazy(
                "This server sends to no host but those that whoever runs it named in "
                "NOTIFY_HOSTS: %(allowed)s. Write the host out, such as "
                "ntfys://ntfy.sh/my-topic."
            )
            % {"allowed": allowed}
        )


def send_by_service(url: str, title: str, text: str) -> bool:
    """Send; True when the service took it. Raises ServiceUnusable. Half a minute at most."""
    service = read_service(url)
    try:
        return bool(service.notify(body=text, title=title))
    except Exception as problem:
        log.warning("a service failed: %s", type(problem).__name__)
        return False
