"""Which clouds this server may call: those its administrator listed, and no others."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext

from devices.rainmaker.address_guard import cloud_key, is_this_machine
from devices.rainmaker.errors import CloudError, NotAllowed
from devices.rainmaker.http import checked_base_url

LABELS = {
    settings.THERMACELL_CLOUD_URL: "Thermacell",
    settings.RAINMAKER_CLOUD_URL: "Espressif RainMaker (public)",
}


def is_allowed(base_url: str) -> bool:
    """May this cloud be called? A simulated one on this machine only where loopback clouds are
    allowed, or when it is the trial cloud.
    """
    try:
        address = checked_base_url(base_url)
    except CloudError:
        return False
    if is_this_machine(urlsplit(address).hostname or "") and settings.LOOPBACK_CLOUDS:
        return True
    allowed = (*settings.ALLOWED_CLOUDS, settings.TRIAL_CLOUD_URL)
    return cloud_key(address) in {cloud_key(url) for url in allowed if url}


def require_allowed(base_url: str) -> None:
    """Raise NotAllowed, with a sentence for the person, unless this cloud may be called."""
    if not is_allowed(base_url):
        raise NotAllowed(
            "This server is not set up to use that cloud. The administrator can allow more "
            "clouds with the setting ALLOWED_CLOUDS.",
            was_sent=False,
        )


def choices() -> list[tuple[str, str]]:
    """Return the clouds to choose from, the usual one first."""
    return [
        (
            url,
            LABELS.get(url)
            or (gettext("Other cloud: %(netloc)s") % {"netloc": urlsplit(url).netloc}),
        )
        for url in settings.ALLOWED_CLOUDS
    ]
