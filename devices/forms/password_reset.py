"""Asking for a link by mail to set a new password.

Nothing is looked up or mailed while the person waits: how long an answer takes must not show
whether an address is known here.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

from django import forms
from django.conf import settings
from django.db import connection, connections
from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext, gettext_lazy

from devices.forms.names import EmailField
from devices.households.password_links import VALID_FOR, PasswordLinks, path_of
from devices.models import User
from devices.notifications.email import send

log = logging.getLogger(__name__)
_MOST_WAITING = 100
_mailer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="password-mail")
_room = BoundedSemaphore(_MOST_WAITING)


class RequestForm(forms.Form):
    """The address to mail the link to."""

    email = EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )

    def save(self, request: HttpRequest, **_: Any) -> str:
        """Have the link mailed, if the address is registered; return the address."""
        email: str = self.cleaned_data["email"]
        if settings.HAS_MAIL_SERVER:
            _mail_soon(email, translation.get_language() or settings.LANGUAGE_CODE)
        return email


def _mail_soon(email: str, language: str) -> None:
    if connection.in_atomic_block:  # another thread would not see the rows of this transaction
        _mail(email, language)
    elif _room.acquire(blocking=False):
        _mailer.submit(_mail_in_thread, email, language)
    else:
        log.warning("A password link was not mailed: %s are waiting already", _MOST_WAITING)


def _mail_in_thread(email: str, language: str) -> None:
    try:
        _mail(email, language)
    except Exception:
        log.exception("A password link could not be mailed")
    finally:
        _room.release()
        connections.close_all()


def _mail(email: str, language: str) -> None:
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        return
    link = settings.PUBLIC_URL + path_of(user, PasswordLinks().make_token(user))
    with translation.override(user.language or language):
        values = {"link": link, "hours": VALID_FOR.seconds // 3600, "email": user.email}
        send(user.email, gettext("Set a new password"), "mail/password_reset.txt", values)
