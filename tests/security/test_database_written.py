"""A person who can write to the database, or who used an account first, gets no further by it."""

from pathlib import Path
from typing import Any

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.utils import timezone

from devices.audit import log as audit_log
from devices.audit import maintenance, marks
from devices.audit.verification import verify
from devices.households.password_links import PasswordLinks
from devices.models import (
    Actor,
    AuditAction,
    AuditCheck,
    AuditCheckpoint,
    AuditEvent,
    AuditHead,
    User,
)
from devices.security.encryption import encrypt
from tests.support.client import Client
from tests.support.factories import PASSWORD, make_household, make_owner
from tests.support.people import COMING, browser, invite
from tests.support.tamper import tamper

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(name="owner@example.com", role="owner")
SECRET = "a cloud account's session"


@pytest.fixture
def trail(settings: Any, tmp_path: Path) -> None:
    """Begin a trail with marks of its own."""
    settings.AUDIT_MARKS = tuple(tmp_path / name / "marks.jsonl" for name in "abc")
    audit_log.ensure_head()
    marks.begin()


def write(count: int) -> None:
    for number in range(count):
        audit_log.record(ACTOR, AuditAction.CHECK_ASKED, f"Check {number}.")


@pytest.mark.parametrize(
    "data",
    [{"migrated_codes": [SECRET]}, {"seed": SECRET}],
    ids=["codes of another library", "seed"],
)
def test_a_factor_opens_no_other_secret(data: dict[str, Any]) -> None:
    planter = make_owner(make_household())
    TOTP.activate(planter, "JBSWY3DPEHPK3PXP")
    planted = {
        name: [encrypt(one) for one in value] if isinstance(value, list) else encrypt(value)
        for name, value in data.items()
    }
    Authenticator.objects.create(
        user=planter, type="recovery_codes", data=planted | {"used_mask": 0}
    )
    client = Client(raise_request_exception=False)
    client.force_login(planter)
    for page in ("/account/factors/recovery-codes/", "/account/factors/recovery-codes/download/"):
        answer = client.get(page)
        if answer.status_code == 302:
            client.post(answer["Location"], {"password": PASSWORD})
            answer = client.get(page)
        assert SECRET not in answer.content.decode()
        assert answer.status_code == 500, "what was planted stops only the planter"


def test_a_cut_end_is_found_after_a_false_checkpoint_and_many_entries(
    trail: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "LARGEST_BYTES", 20_000)
    write(20)
    head = AuditHead.objects.get(pk=1)
    write(15)  # what is to disappear

    def cut() -> None:
        AuditEvent.objects.filter(sequence__gt=head.sequence).delete()
        AuditHead.objects.filter(pk=1).update(
            sequence=head.sequence, digest=head.digest, seal=head.seal
        )
        AuditCheckpoint.objects.create(
            sequence=10**9, digest="0" * 64, rows=0, at=timezone.now(), seal="x"
        )

    tamper(cut)
    write(150)
    tamper(lambda: AuditCheckpoint.objects.all().delete())
    assert not verify().is_intact


def test_a_changed_entry_is_found_with_every_cursor_and_result_of_the_database(trail: None) -> None:
    write(20)
    tamper(lambda: AuditEvent.objects.filter(sequence=5).update(sentence="Nothing happened."))
    before = AuditEvent.objects.get(sequence=19)
    AuditCheck.load()
    AuditCheck.objects.update(cursor=19, cursor_digest=before.digest)
    maintenance.verify_in_parts(timezone.now(), lambda: True)
    assert AuditCheck.load().finding
    AuditCheck.objects.update(finding="", verified_sequence=20, proven_sequence=20)
    assert not maintenance.is_own(AuditCheck.load()), "the page shows no result of another hand"


def test_who_joins_with_anothers_address_keeps_no_way_in_after_a_mailed_link() -> None:
    owner = make_owner(make_household())
    browser().post(invite(owner, owner.memberships.get().household, "cfo@example.org"), COMING)
    user = User.objects.get(email="cfo@example.org")
    assert user.is_address_unproven
    Authenticator.objects.create(user=user, type="webauthn", data={"name": "x"})
    key = PasswordLinks().make_token(user)
    person = browser()
    link = f"/account/password/reset/key/{user_pk_to_url_str(user)}-{key}/"
    form = person.get(link)["Location"]
    person.post(form, {"password1": "a new secret 4711", "password2": "a new secret 4711"})
    user.refresh_from_db()
    assert not user.is_address_unproven
    assert not Authenticator.objects.filter(user=user).exists()
