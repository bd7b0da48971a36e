"""Services that can carry a notice, by an address as the apprise library writes them.

Only services with a fixed host are called, each of them tested
(tests/notifications/test_providers.py), and hosts named in NOTIFY_HOSTS. Of apprise's many plugins
only the one that is needed is ever loaded.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings

from devices.models.message import Message, MessageCode

log = logging.getLogger(__name__)
# apprise logs whole addresses, which are secrets; we log the problem ourselves.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
CONNECT_WITHIN_S, ANSWER_WITHIN_S = 4.0, 10.0


class ServiceUnusable(Exception):
    """This address cannot be used here. str() is a sentence for people, without the address."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One of apprise's plugins."""

    name: str
    module: str
    plugin: str
    is_fixed: bool = True
    """Does it only ever call its vendor's host? Else it calls the host in the address."""


PROVIDERS = {
    "discord": ProviderSpec("Discord", "discord", "NotifyDiscord"),
    "gchat": ProviderSpec("Google Chat", "google_chat", "NotifyGoogleChat"),
    "ifttt": ProviderSpec("IFTTT", "ifttt", "NotifyIFTTT"),
    "pbul": ProviderSpec("Pushbullet", "pushbullet", "NotifyPushBullet"),
    "pover": ProviderSpec("Pushover", "pushover", "NotifyPushover"),
    "prowl": ProviderSpec("Prowl", "prowl", "NotifyProwl"),
    "simplepush": ProviderSpec("SimplePush", "simplepush", "NotifySimplePush"),
    "slack": ProviderSpec("Slack", "slack", "NotifySlack"),
    "tgram": ProviderSpec("Telegram", "telegram", "NotifyTelegram"),
    "threema": ProviderSpec("Threema", "threema", "NotifyThreema"),
    "wxteams": ProviderSpec("Webex", "webexteams", "NotifyWebexTeams"),
    "bark": ProviderSpec("Bark", "bark", "NotifyBark", is_fixed=False),
    "gotify": ProviderSpec("Gotify", "gotify", "NotifyGotify", is_fixed=False),
    "hassio": ProviderSpec(
        "Home Assistant", "home_assistant", "NotifyHomeAssistant", is_fixed=False
    ),
    "json": ProviderSpec("JSON to an address", "custom_json", "NotifyJSON", is_fixed=False),
    "nctalk": ProviderSpec(
        "Nextcloud Talk", "nextcloudtalk", "NotifyNextcloudTalk", is_fixed=False
    ),
    "ntfy": ProviderSpec("ntfy", "ntfy", "NotifyNtfy", is_fixed=False),
    "rocket": ProviderSpec("Rocket.Chat", "rocketchat", "NotifyRocketChat", is_fixed=False),
    "signal": ProviderSpec("Signal", "signal_api", "NotifySignalAPI", is_fixed=False),
    "synology": ProviderSpec("Synology Chat", "synology", "NotifySynology", is_fixed=False),
}


def kind_of(url: str) -> ProviderSpec | None:
    """Return the kind of service of an address; a self-hosted one may have an s for TLS."""
    scheme = url.partition("://")[0].strip().lower()
    if (kind := PROVIDERS.get(scheme)) is not None:
        return kind
    kind = PROVIDERS.get(scheme.removesuffix("s"))
    return kind if kind is not None and not kind.is_fixed else None


def read_service(url: str) -> Any:
    """Return apprise's plugin for the address; raises ServiceUnusable."""
    kind = kind_of(url)
    if kind is None:
        known = ", ".join(
            f"{key}://" if one.is_fixed else f"{key}s://" for key, one in PROVIDERS.items()
        )
        raise ServiceUnusable(Message.of(MessageCode.SERVICE_UNKNOWN, known=known))
    from apprise import AppriseAsset  # slow to load, so only when sending

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
        parts = plugin.parse_url(url)
        service = plugin(**parts, asset=asset)
    except Exception as problem:  # each plugin raises its own errors
        raise ServiceUnusable(Message.of(MessageCode.SERVICE_MISSPELT)) from problem
    if not kind.is_fixed:
        _require_named_host(service)
    # the address must not change these
    service.redirects, service.verify_certificate, service.retry = False, True, 0
    service.socket_connect_timeout = CONNECT_WITHIN_S
    service.socket_read_timeout = ANSWER_WITHIN_S
    return service


def _require_named_host(service: Any) -> None:
    host = str(service.host or "").lower()
    named = {host, f"{host}:{service.port}"} if service.port else {host}
    if not named & set(settings.NOTIFY_HOSTS) or getattr(service, "mode", "") == "cloud":
        allowed = ", ".join(settings.NOTIFY_HOSTS) or "none"
        raise ServiceUnusable(Message.of(MessageCode.SERVICE_HOST_NOT_ALLOWED, allowed=allowed))


def send_by_service(url: str, title: str, text: str) -> bool:
    """Return whether the service accepted it, within 30 s. Raises ServiceUnusable."""
    service = read_service(url)
    try:
        return bool(service.notify(body=text, title=title))
    except Exception as problem:
        log.warning("a service failed: %s", type(problem).__name__)
        return False
