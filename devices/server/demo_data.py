"""Fill the demo: sample households, people, and their accounts at the simulated cloud."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from devices.accounts.linking import link_account
from devices.models import (
    Actor,
    CloudAccount,
    HomeAssistantLink,
    Household,
    MayInstall,
    Membership,
    OtaJob,
    Role,
    User,
)
from devices.rainmaker.errors import CloudError
from devices.server import demo

ACTOR = Actor(name="Demo", role="demo", via="demo")


class DemoData(BaseCommand):
    help = "Create the demo's people, households and linked accounts. Safe on repeat."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        address = settings.DEFAULT_CLOUD_URL
        if not CloudAccount(base_url=address).is_simulated:
            raise CommandError(
                f"Sample data is for a simulated cloud on this machine, not for {address}."
            )
        with transaction.atomic():
            households = {home.name: _household(home.name) for home in demo.HOMES}
            for person in demo.RESIDENTS:
                user = _user(person.email, person.name)
                Membership.objects.get_or_create(
                    user=user,
                    household=households[person.household],
                    defaults={"role": person.role},
                )
            for one in demo.STAFF:
                _second_factor(_user(one.email, one.name, one.role))
            follow_cloud(address)
            if settings.MQTT_URL:
                show_to_home_assistant(households)
        for home in demo.HOMES:
            household = households[home.name]
            if household.accounts.active().filter(email=home.cloud_email).exists():
                continue
            try:
                link_account(
                    household=household,
                    base_url=address,
                    email=home.cloud_email,
                    password=demo.PASSWORD,
                    actor=ACTOR,
                )
            except CloudError as problem:
                raise CommandError(f"The simulated cloud refused: {problem}") from problem


def show_to_home_assistant(households: Mapping[str, Household]) -> None:
    """Show the sample hubs at the broker, and let the first household's be installed from there."""
    first = demo.HOMES[0].name
    for name, household in households.items():
        HomeAssistantLink.objects.get_or_create(
            household=household,
            defaults={
                "is_on": True,
                "may_install": MayInstall.ALL if name == first else MayInstall.NO,
                "allowed_by": household.members.filter(memberships__role=Role.OWNER).first(),
                "allowed_at": timezone.now(),
                "discovery_prefix": "homeassistant" if name == first else "homeassistant-cabin",
            },
        )


def _household(name: str) -> Household:
    household, _ = Household.objects.get_or_create(
        name=name, defaults={"time_zone": machine_time_zone()}
    )
    return household


def _user(email: str, name: str, staff_role: str = "") -> User:
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email, demo.PASSWORD, name=name, staff_role=staff_role)
    return user


def _second_factor(user: User) -> None:
    """Give a sample member of staff an app's secret, and at every start fresh recovery codes."""
    if not is_mfa_enabled(user, [Authenticator.Type.TOTP]):
        TOTP.activate(user, generate_totp_secret())
    Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
    RecoveryCodes.activate(user)


def staff_codes(email: str) -> list[str]:
    """Return recovery codes with which this sample member of staff can sign in, once each."""
    codes = Authenticator.objects.filter(
        user__email=email, type=Authenticator.Type.RECOVERY_CODES
    ).first()
    return RecoveryCodes(codes).get_unused_codes()[:3] if codes is not None else []


def sign_in_lines() -> list[str]:
    """Return what the start prints about the sample people."""
    width = max(len(person.email) for person in (*demo.RESIDENTS, *demo.STAFF))
    people = [
        f"    {person.email:<{width}}   {person.role} of {person.household}"
        for person in demo.RESIDENTS
    ]
    return [
        "A demo: the cloud and its hubs are simulated, nothing real is touched. Sign in as",
        "",
        *people,
        "",
        f"    password of all of them: {demo.PASSWORD}",
        "",
        "Staff need a second factor too; each of these codes lets in once:",
        "",
        *(
            f"    {one.email:<{width}}   {one.words}: {', '.join(staff_codes(one.email))}"
            for one in demo.STAFF
        ),
        "",
    ]


def follow_cloud(address: str) -> None:
    """Let the sample accounts follow the simulated cloud when the demo runs on another port."""
    mails = [home.cloud_email for home in demo.HOMES]
    for account in CloudAccount.objects.filter(email__in=mails).exclude(base_url=address):
        if not account.is_simulated:
            continue
        account.base_url = address
        account.save(update_fields=["base_url"])
        OtaJob.objects.filter(node__account=account).update(cloud_host=account.cloud_host)


def machine_time_zone() -> str:
    """Return this machine's time zone, or one that is not UTC so that local times show."""
    parts = Path(os.path.realpath("/etc/localtime")).parts
    name = "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else ""
    if not name or name.upper() in {"UTC", "UNIVERSAL", "ZULU"} or name.startswith("Etc/"):
        return "Europe/Berlin"
    return name
