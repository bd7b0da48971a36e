"""What django-allauth may do here."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]
    """People come by invitation: nobody signs up on their own."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
