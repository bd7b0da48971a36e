"""Mails the product itself sends. Without a mail server links are shown to be passed on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.conf import settings
from django.core.mail import get_connection, send_mail
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string

from devices.models.text import one_line

log = logging.getLogger(__name__)


@contextmanager
def one_connection() -> Iterator[BaseEmailBackend | None]:
    """Yield a connection for several mails; None when no server is set, or none answers."""
    connection = get_connection() if settings.HAS_MAIL_SERVER else None
    try:
        if connection is not None:
            connection.open()
    except OSError as problem:
        log.warning("No mail server answers: %s", type(problem).__name__)
        connection = None
    try:
        yield connection
    finally:
        if connection is not None:
            with suppress(OSError):
                connection.close()


def send(
    to: str,
    subject: str,
    template: str,
    values: dict[str, object],
    connection: BaseEmailBackend | None = None,
) -> bool:
    """Send one mail and return whether a server took it; False too when none is set."""
    if not settings.HAS_MAIL_SERVER:
        return False
    try:
        text = render_to_string(template, values)
        send_mail(
            one_line(subject, 150), text, settings.DEFAULT_FROM_EMAIL, [to], connection=connection
        )
    except OSError as problem:  # smtplib's errors are among them
        log.warning("A mail could not be sent: %s", type(problem).__name__)
        return False
    return True
