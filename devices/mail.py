"""Mails the product itself sends. Without a mail server links are shown to be passed on."""

import logging

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from devices.hubwords import one_line

log = logging.getLogger(__name__)


def send(to: str, subject: str, template: str, values: dict[str, object]) -> bool:
    """Send one mail and return whether a server took it; False too when none is set."""
    if not settings.HAS_MAIL_SERVER:
        return False
    try:
        text = render_to_string(template, values)
        send_mail(one_line(subject, 150), text, settings.DEFAULT_FROM_EMAIL, [to])
    except OSError as problem:  # smtplib's errors are among them
        log.warning("A mail could not be sent: %s", type(problem).__name__)
        return False
    return True
