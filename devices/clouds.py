"""Which clouds this server may call: those its administrator named, and no other."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from devices.cloud import checked_base_url
from devices.cloud.errors import CloudError, NotAllowed
from devices.cloud.transport import is_this_machine

LABELS = {
    settings.THERMACELL_CLOUD_URL: "Thermacell",
    settings.RAINMAKER_CLOUD_URL: "Espressif RainMaker (public)",
}


def is_allowed(base_url: str) -> bool:
    """May this cloud be called? A simulated one on this machine only when that is allowed,
    or when it is the one to try things out with."""
    try:
        address = checked_base_url(base_url)
    except CloudError:
        return False
    if is_this_machine(urlsplit(address).hostname or "") and settings.LOOPBACK_CLOUDS:
        return True
    return address in (*settings.ALLOWED_CLOUDS, settings.TRIAL_CLOUD_URL)


def require_allowed(base_url: str) -> None:
    """Raise NotAllowed, with a sentence for the person, unless this cloud may be called."""
    if not is_allowed(base_url):
        raise NotAllowed(
            "This server does not call that cloud. Whoever runs it can allow more clouds with the "
            "setting ALLOWED_CLOUDS.",
            was_sent=False,
        )


def choices() -> list[tuple[str, str]]:
    """Return the clouds to choose from, the usual one first."""
    return [
        (
            url,
            LABELS.get(url)
            or (gettext("This server's own: %(netloc)s") % {"netloc": urlsplit(url).netloc}),
        )
        for url in settings.ALLOWED_CLOUDS
    ]
