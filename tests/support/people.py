"""People's browsers, invitations made on the page, and rows of the trail."""

import re

from devices.models import AuditEvent, Household, User
from tests.support.client import Client
from tests.support.factories import PASSWORD


def browser(user: User | None = None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def invite(owner: User, household: Household, email: str, role: str = "member") -> str:
    """Invite on the page and return the path of the link that it shows."""
    page = f"/households/{household.pk}/people/"
    text = browser(owner).post(page, {"email": email, "role": role}).content.decode()
    found = re.search(r"http://localhost:8000(/invitation/[^<\s]+)", text)
    assert found, text
    return found.group(1)


def trail(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("sequence"))


COMING = {"name": "Nora New", "password": PASSWORD}
