"""What django-allauth may do here."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.http import HttpRequest

from devices.middleware import origin
from devices.models.account import seal, unseal


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]
    """People come by invitation: nobody signs up on their own."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that limits count by: the one the audit trail keeps."""
        return origin(request)["address"]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, object]) -> None:
        """Send the library's mails only where there is a server: the log is no place for links."""
        if settings.HAS_MAIL_SERVER:
            super().send_mail(template_prefix, email, context)


class SealedFactors(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors are kept encrypted like the cloud accounts' tokens."""

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)
