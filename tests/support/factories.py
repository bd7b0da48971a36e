"""Rows for tests, believable by default. Everything can be given; what is not, is made up."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.utils import timezone

from devices.installs.confirmation import snapshot_offer
from devices.models import (
    Actor,
    CloudAccount,
    Household,
    Membership,
    Node,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    Proposal,
    Role,
    State,
    User,
    When,
)
from devices.security.encryption import encrypt
from tests.support.client import Client

PASSWORD = "mosquito-free-evening"
_numbers = count(1)


def make_user(
    email: str = "", *, role: str = "", household: Household | None = None, **fields: Any
) -> User:
    user = User.objects.create_user(
        email or f"person{next(_numbers)}@example.com", PASSWORD, **fields
    )
    if role and household is not None:
        Membership.objects.create(user=user, household=household, role=role)
    return user


def sign_in(client: Client, user: User) -> Client:
    """Sign this person in; staff with the second factor that they need."""
    client.force_login(user)
    if user.staff_role:
        if not Authenticator.objects.filter(user=user).exists():
            TOTP.activate(user, generate_totp_secret())
            RecoveryCodes.activate(user)
        session = client.session
        session["account_authentication_methods"] = [{"method": "mfa", "at": 0}]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    return client


def make_household(name: str = "", **fields: Any) -> Household:
    return Household.objects.create(name=name or f"Household {next(_numbers)}", **fields)


def make_owner(household: Household) -> User:
    return make_user(role=Role.OWNER, household=household)


def make_account(household: Household | None = None, **fields: Any) -> CloudAccount:
    values: dict[str, Any] = {
        "household": household or make_household(),
        "base_url": "http://127.0.0.1:9",
        "email": f"cloud{next(_numbers)}@example.com",
        "sealed_access_token": encrypt("access"),
        "sealed_refresh_token": encrypt("refresh"),
        "synced_at": timezone.now(),
        "answered_at": timezone.now(),
    }
    return CloudAccount.objects.create(**values | fields)


def make_node(account: CloudAccount | None = None, **fields: Any) -> Node:
    n = next(_numbers)
    values: dict[str, Any] = {
        "account": account or make_account(),
        "node_id": f"Node{n:018d}",
        "name": f"Porch {n}",
        "model": "thermacell-hub",
        "serial": f"N03HA{n:011d}",
        "fw_version": "5.3.2",
        "is_online": True,
        "online_changed_at": timezone.now() - timedelta(days=1),
        "repellent": "off",
        "is_on": False,
        "refill_life_percent": 62.0,
        "has_cartridge": True,
        "runtime_minutes": 1260,
        "heard_at": timezone.now(),
        "checked_at": timezone.now(),
        "next_check_at": timezone.now() + timedelta(days=1),
    }
    return Node.objects.create(**values | fields)


def make_offer(node: Node, **fields: Any) -> Offer:
    values: dict[str, Any] = {
        "node": node,
        "ota_job_id": f"OTA_JOB_{next(_numbers)}",
        "fw_version": "5.3.3",
        "description": "New firmware with bug fixes and performance improvements",
        "size_bytes": 245760,
        "md5": "9f86d081884c7d659a2feaa0c55aa3c1",
    }
    return Offer.objects.create(**values | fields)


def make_job(
    node: Node | None = None,
    *,
    state: str = State.REQUESTED,
    now: datetime | None = None,
    **fields: Any,
) -> OtaJob:
    node = node or make_node()
    now = now or timezone.now()
    OtaJob.objects.filter(node=node, is_latest=True).update(is_latest=False)
    is_over = state not in {"requested", "pushing", "running", "retrying", "verifying"}
    values: dict[str, Any] = {
        "household": node.account.household,
        "node": node,
        "cloud_host": node.account.cloud_host,
        "cloud_node_id": node.node_id,
        "hub_name": str(node),
        "hub_model": node.model,
        "ota_job_id": f"OTA_JOB_{next(_numbers)}",
        "from_version": node.fw_version,
        "to_version": "5.3.3",
        "size_bytes": 245760,
        "md5": "9f86d081884c7d659a2feaa0c55aa3c1",
        "requested_by_name": "owner@example.com",
        "requested_at": now,
        "expires_at": now + timedelta(minutes=10),
        "state": state,
        "state_at": now,
        "ended_at": now if is_over else None,
        "next_poll_at": None if is_over else now,
    }
    if state not in {"requested", "cancelled", "expired", "refused"}:
        values |= {"claimed_at": now, "pushes": 1}
        if state != "pushing":
            values |= {"pushed_at": now, "last_news_at": now, "answered_at": now}
    return OtaJob.objects.create(**values | fields)


def person(user: User, role: str = Role.OWNER) -> Actor:
    return Actor.person(user, role=role, via="web", address="127.0.0.1")


def make_plan(node: Node | None = None, **fields: Any) -> Plan:
    """Make a plan that waits, of what the hub is offered, else of an update to 5.3.3."""
    node = node or make_node()
    now, offer = timezone.now(), node.offer or Offer(node=node, fw_version="5.3.3")
    values: dict[str, Any] = {
        "household": node.account.household,
        "node": node,
        "hub_name": str(node),
        "binding": snapshot_offer(node, offer).dump(),
        "requested_by_name": "owner@example.com",
        "when": When.NOW,
        "not_before": now,
        "expires_at": now + timedelta(hours=12),
        "needs_idle": False,
    }
    is_over = fields.get("state", PlanState.WAITING) != PlanState.WAITING
    values |= {"ended_at": now} if is_over else {"next_look_at": now}
    return Plan.objects.create(**values | fields)


def make_proposal(node: Node, **fields: Any) -> Proposal:
    """Make a proposal of what the hub is offered."""
    assert node.offer is not None
    values: dict[str, Any] = {
        "household": node.account.household,
        "node": node,
        "hub_name": str(node),
        "binding": snapshot_offer(node, node.offer).dump(),
        "proposed_by_name": "sam@support.example",
        "token_digest": f"digest of {node.pk}",
        "expires_at": timezone.now() + timedelta(days=3),
    }
    return Proposal.objects.create(**values | fields)
