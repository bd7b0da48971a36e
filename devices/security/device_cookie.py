"""The cookie by which a browser is known as a person's push device.

It opens nothing. It outlives the session, so that the device can be ended when another person
signs in there.
"""

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from devices.models import PushDevice

_SALT = "push device"
_COOKIE_AGE_S = 400 * 24 * 3600


def cookie_name() -> str:
    return "__Host-device" if settings.IS_HTTPS else "device"


def device_of(request: HttpRequest) -> PushDevice | None:
    """Return the push device that this browser is, of any person. One query at most."""
    try:
        pk, digest = signing.loads(
            request.COOKIES.get(cookie_name(), ""), salt=_SALT, max_age=_COOKIE_AGE_S
        )
    except (signing.BadSignature, ValueError, TypeError):
        return None
    rows = PushDevice.objects.select_related("user")
    return rows.filter(pk=pk, endpoint_digest=digest).first()


def remember_device(response: HttpResponse, device: PushDevice) -> None:
    """Let this browser be known as this device."""
    response.set_cookie(
        cookie_name(),
        signing.dumps([device.pk, device.endpoint_digest], salt=_SALT),
        max_age=_COOKIE_AGE_S,
        secure=settings.IS_HTTPS,
        httponly=True,
        samesite="Lax",
    )
