"""What django-allauth may do here."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy

from devices.audit import log as audit_log
from devices.models import Actor, AuditAction, PushDevice, User
from devices.permissions import roles_of
from devices.security import sign_in_pace
from devices.security.device_cookie import device_of
from devices.security.encryption import DecryptionError, decrypt, encrypt
from devices.security.password_hashing import TooBusy
from devices.security.request_origin import origin

_FACTOR = "factor:"
# An authenticator app's secret (base32), or the seed of recovery codes (40 bytes as hex).
_OLDER_FACTOR = re.compile(r"[A-Z2-7]{16,64}=*|[0-9a-f]{80}")


@dataclass(frozen=True, slots=True)
class Site:
    """This server as mails name it."""

    domain: str
    name: str


def _site() -> Site:
    return Site(urlsplit(settings.PUBLIC_URL).netloc, "Thermacell Web")


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]
    """People come by invitation: there is no sign-up.

    The library takes the server's name from the request's Host header. Here it comes from
    PUBLIC_URL alone, in mails as in what sign-ins are counted by.
    """

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": gettext_lazy("The e-mail address or the password is not right."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that limits count by: the one the audit trail keeps."""
        return origin(request)["address"]

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Return the person, or None; a try that raises TooBusy does not count as a wrong one."""
        try:
            user = super().authenticate(request, **credentials)
        except TooBusy:
            self._rollback_login_failed_rl_usage()
            sign_in_pace.take_back_try(request, _email_in(credentials))
            raise
        if user is not None:
            sign_in_pace.succeeded(request, _email_in(credentials))
        return user

    def send_mail(self, template_prefix: str, email: str, context: dict[str, object]) -> None:
        """Send the library's mails only where there is a mail server: never links to the log."""
        if settings.HAS_MAIL_SERVER:
            super().send_mail(template_prefix, email, {"current_site": _site(), **context})

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link of a password mail, at our address. Our form does not ask for it; the
        library's own would take the host from the request.
        """
        values = {"uidb36": "UID", "key": "KEY"}
        path = reverse("account_reset_password_from_key", kwargs=values)
        return settings.PUBLIC_URL + path.replace("UID-KEY", quote(key))

    def format_email_subject(self, subject: str) -> str:
        return f"[{_site().name}] {subject}"

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        login = credentials.get("email", credentials.get("username", ""))
        return f"{_site().domain}:{str(login).lower()}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuse a try that comes too soon after wrong ones; see `sign_in_pace`."""
        email = _email_in(credentials)
        if not sign_in_pace.is_known_browser(request, email):
            super().pre_authenticate(request, **credentials)  # the limit of the address
        if wait_s := sign_in_pace.begin_try(request, email):
            words = gettext("Too many failed sign-ins. Try again in %(seconds)s seconds.")
            raise ValidationError(words % {"seconds": wait_s}, code="too_many_login_attempts")


def _email_in(credentials: dict[str, Any]) -> str:
    return str(credentials.get("email") or credentials.get("username") or "").lower()


class SealedFactors(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors are kept encrypted, and only what was encrypted as a factor opens as one.

    A row can be given any other encrypted text of the database, such as a cloud account's token.
    """

    def encrypt(self, text: str) -> str:
        return encrypt(_FACTOR + text)

    def decrypt(self, encrypted_text: str) -> str:
        text = decrypt(encrypted_text)
        if text.startswith(_FACTOR):
            return text.removeprefix(_FACTOR)
        if _OLDER_FACTOR.fullmatch(text):  # of before factors had their mark
            return text
        raise DecryptionError("this was not encrypted as a second factor")


def _end_devices(user: User, devices: QuerySet[PushDevice], request: HttpRequest) -> None:
    """End the push messages to these devices of a person who signs out everywhere else."""
    with audit_log.locked():
        names = ", ".join(device.name for device in devices)
        if names:
            devices.delete()
            audit_log.record(
                Actor.person(user, role=roles_of(user), via="web", **origin(request)),
                AuditAction.NOTIFICATIONS_DEVICE_REMOVED,
                f"{user.email} signed out everywhere else. No more push messages go to: {names}.",
            )


class EndedSessions(DefaultUserSessionsAdapter):  # type: ignore[misc]
    """Signing out everywhere else ends sessions that are in no list too, and other push devices."""

    def end_sessions(self, sessions: Any) -> None:
        super().end_sessions(sessions)
        request = self.request
        if isinstance(request.user, User):
            user = request.user
            user.access_epoch += 1
            user.save(update_fields=["access_epoch"])
            here = device_of(request)
            others = user.push_devices.exclude(pk=here.pk if here is not None else 0)
            _end_devices(user, others, request)
            update_session_auth_hash(request, user)
