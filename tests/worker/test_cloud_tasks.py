"""What happens around installs: sessions, shared hubs, offers that change, updates from outside."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices import tasks
from devices.accounts.linking import unlink_account
from devices.fleet.checks import ask_check
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.models import (
    AccountState,
    AuditEvent,
    CloudAccount,
    Household,
    Node,
    OfferEnd,
    OtaJob,
    State,
    VersionCause,
    VersionChange,
)
from devices.rainmaker.client import RainmakerClient
from tests.support.engine import PASSWORD, confirm, end_of, link, run_until
from tests.support.factories import make_household, make_owner, person
from tests.support.people import browser
from tests.support.simcloud_process import SimCloud

pytestmark = [pytest.mark.django_db, pytest.mark.processes]
PACE = 40
GARDEN, CELLAR = "garden@example.com", "cellar@example.com"
StartCloud = Callable[..., SimCloud]


@pytest.fixture(autouse=True)
def pace(settings: Any) -> None:
    settings.ENGINE_PACE = PACE


@pytest.fixture
def start_cloud() -> Iterator[StartCloud]:
    started: list[SimCloud] = []

    def start(*, users: tuple[str, ...] = (GARDEN,), hubs: int = 2, **options: Any) -> SimCloud:
        cloud = SimCloud(
            hubs=hubs,
            speed=PACE,
            offers=1,
            users=[f"{user}:{PASSWORD}" for user in users],
            **options,
        )
        started.append(cloud)
        for index in range(min(hubs, 3)):
            cloud.control("PUT", f"/hubs/{index}/online", {"online": True})
        return cloud

    yield start
    for cloud in started:
        cloud.stop()


def first(account: CloudAccount) -> Node:
    """Return a hub of the account that can take its offer now."""
    return (
        account.nodes.select_related("account__household")
        .filter(is_online=True, offers__ended_at=None, offers__isnull=False)
        .earliest("pk")
    )


def soon(node: Node) -> None:
    """Make the next reading of the account due now."""
    CloudAccount.objects.filter(pk=node.account_id).update(next_sync_at=timezone.now())


def test_the_documented_dialect_is_understood(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(dialect="documented"), make_household()
    owner = make_owner(household)
    job = confirm(owner, first(link(cloud, household, owner, GARDEN)))
    assert end_of(job) == (State.VERIFIED, "verified")
    words = set(job.reports.values_list("word", flat=True))
    assert "in_progress" in words


def test_an_expired_session_is_extended_by_itself(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(token_life_s=2), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    before = account.sealed_access_token
    assert end_of(confirm(owner, first(account))) == (State.VERIFIED, "verified")
    account.refresh_from_db()
    assert account.state == AccountState.LINKED
    assert account.sealed_access_token != before


def test_a_revoked_session_waits_for_the_person_and_goes_on(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    job = confirm(owner, first(account))
    run_until(lambda: OtaJob.objects.filter(pk=job.pk, pushed_at__isnull=False).exists())
    cloud.control("POST", "/tokens/revoke", {})

    def is_signed_out() -> bool:
        account.refresh_from_db()
        return account.state == AccountState.SIGNED_OUT

    run_until(is_signed_out)
    job.refresh_from_db()
    assert job.is_live
    assert AuditEvent.objects.filter(action="account.signed_out").count() == 1
    link(cloud, household, owner, GARDEN)
    assert end_of(job) == (State.VERIFIED, "verified")
    assert CloudAccount.objects.get().pk == account.pk


def test_a_shared_hub_takes_one_install_at_a_time_and_tells_no_tales(
    start_cloud: StartCloud,
) -> None:
    cloud = start_cloud(users=(GARDEN, CELLAR), hubs=4)
    mine, theirs = make_household("Mine"), make_household("Theirs")
    owner, other = make_owner(mine), make_owner(theirs)
    node = first(link(cloud, mine, owner, GARDEN))
    cloud.control("POST", f"/hubs/{node.node_id}/share", {"email": CELLAR})
    shared = link(cloud, theirs, other, CELLAR).nodes.get(node_id=node.node_id)
    job = confirm(owner, node)
    with pytest.raises(install_requests.Refused) as refused:
        confirm(other, shared)
    assert [reason.code for reason in refused.value.reasons] == ["job_running"]
    assert end_of(job) == (State.VERIFIED, "verified")
    soon(shared)
    run_until(lambda: Node.objects.get(pk=shared.pk).fw_version == job.to_version)
    change = VersionChange.objects.get(node=shared, to_version=job.to_version)
    assert (change.cause, change.job) == (VersionCause.INSTALL, None)
    assert not AuditEvent.objects.filter(household_id=theirs.pk, job_id=job.pk).exists()


def test_an_update_from_outside_is_recorded_as_such(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    node = first(link(cloud, household, owner, GARDEN))
    offer = node.offer
    assert offer is not None
    with RainmakerClient(cloud.url) as phone:
        phone.sign_in(GARDEN, PASSWORD)
        phone.push_firmware_update(node_id=node.node_id, ota_job_id=offer.ota_job_id)
    cloud.control("POST", "/clock", {"advance_s": 900})
    soon(node)
    run_until(lambda: Node.objects.get(pk=node.pk).fw_version == offer.fw_version)
    change = VersionChange.objects.exclude(cause=VersionCause.FIRST).get(node=node)
    assert change.cause == VersionCause.OUTSIDE
    event = AuditEvent.objects.get(action="version.outside")
    assert "outside this dashboard" in event.sentence
    offer.refresh_from_db()
    assert offer.end_reason == OfferEnd.INSTALLED


def test_a_check_that_finds_the_same_changes_nothing_but_its_time(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    node = first(link(cloud, household, owner, GARDEN))
    offer = node.offer
    assert offer is not None
    events = AuditEvent.objects.count()
    Node.objects.filter(pk=node.pk).update(next_check_at=timezone.now())
    run_until(lambda: Node.objects.exclude(checked_at=node.checked_at).filter(pk=node.pk).exists())
    again = Node.objects.get(pk=node.pk)
    assert again.revision == node.revision
    assert again.next_check_at - timezone.now() > timedelta(hours=20)
    assert AuditEvent.objects.count() == events
    seen_before = offer.last_seen_at
    offer.refresh_from_db()
    assert offer.last_seen_at > seen_before


def test_a_swapped_and_a_withdrawn_offer_are_recorded(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    node = first(link(cloud, household, owner, GARDEN))

    def check() -> None:
        fresh = Node.objects.select_related("account__household").get(pk=node.pk)
        assert ask_check([fresh], actor=person(owner)) == 1
        run_until(lambda: Node.objects.get(pk=node.pk).check_asked_at is None)

    cloud.control("PUT", f"/hubs/{node.node_id}/offer", {"fw_version": "7.0.0"})
    check()
    cloud.control("DELETE", f"/hubs/{node.node_id}/offer")
    check()
    ends = list(node.offers.order_by("pk").values_list("end_reason", flat=True))
    assert ends == [OfferEnd.SWAPPED, OfferEnd.WITHDRAWN]
    actions = AuditEvent.objects.filter(node_id=node.pk).order_by("sequence")
    assert [a for a in actions.values_list("action", flat=True) if a.startswith("offer.")] == [
        "offer.seen",
        "offer.swapped",
        "offer.seen",
        "offer.withdrawn",
    ]


def test_a_form_that_shows_an_older_offer_is_refused_and_nothing_is_sent(
    start_cloud: StartCloud,
) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    node = first(link(cloud, household, owner, GARDEN))
    offer = node.offer
    assert offer is not None
    binding = snapshot_offer(node, offer)
    cloud.control("PUT", f"/hubs/{node.node_id}/offer", {"fw_version": "7.0.0"})
    ask_check([node], actor=person(owner))
    run_until(lambda: Node.objects.get(pk=node.pk).check_asked_at is None)
    fresh = Node.objects.select_related("account__household").get(pk=node.pk)
    with pytest.raises(install_requests.Refused) as refused:
        install_requests.request(user=owner, node=fresh, binding=binding, actor=person(owner))
    assert [reason.code for reason in refused.value.reasons] == ["offer_swapped"]
    assert cloud.counters()["pushes"] == {}
    assert AuditEvent.objects.filter(action="install.request_refused").count() == 1


def test_a_cancelled_install_is_never_sent(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    job = confirm(owner, first(account))
    install_requests.cancel(job, user=owner, actor=person(owner))
    tasks.installs_loop()
    job.refresh_from_db()
    assert (job.state, job.outcome) == (State.CANCELLED, "cancelled")
    assert cloud.counters()["pushes"] == {}
    with pytest.raises(install_requests.Refused):
        install_requests.cancel(job, user=owner, actor=person(owner))


def test_an_account_of_many_hubs_is_read_page_by_page(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(hubs=250), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    assert account.nodes.count() == 250
    listings = cloud.counters()["requests"]["GET /v1/user/nodes"]
    assert listings == 3
    cloud.control("POST", "/accounts", {"email": CELLAR, "password": PASSWORD, "nodes": ["7"]})
    CloudAccount.objects.update(next_sync_at=timezone.now())
    run_until(lambda: account.nodes.filter(gone_at__isnull=False).exists())
    assert account.nodes.filter(gone_at__isnull=False).count() == 1


def test_an_unlinked_account_keeps_its_history_and_no_tokens(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    unlink_account(account, actor=person(owner))
    account.refresh_from_db()
    assert (account.state, account.sealed_access_token, account.sealed_refresh_token) == (
        AccountState.UNLINKED,
        "",
        "",
    )
    assert not Node.objects.present().exists()
    assert Household.objects.get().jobs.count() == 0
    assert account.nodes.count() == 2
    assert cloud.counters()["requests"]["POST /v1/logout2"] == 1


def test_tokens_passwords_and_addresses_are_neither_logged_nor_stored_in_plain(
    start_cloud: StartCloud, caplog: pytest.LogCaptureFixture
) -> None:
    from devices.accounts.sessions import tokens_of
    from devices.security.log_formatter import SafeFormatter

    caplog.set_level("DEBUG")
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    account = link(cloud, household, owner, GARDEN)
    assert end_of(confirm(owner, first(account))) == (State.VERIFIED, "verified")
    tokens = tokens_of(CloudAccount.objects.get())
    assert tokens is not None
    secrets = (tokens.access_token, tokens.refresh_token, PASSWORD, GARDEN)
    logged = "\n".join(SafeFormatter("%(message)s").format(record) for record in caplog.records)
    trail = " ".join(f"{event.sentence} {event.detail}" for event in AuditEvent.objects.all())
    row = " ".join(str(value) for value in CloudAccount.objects.values().get().values())
    for secret in secrets:
        assert secret not in logged
        assert secret not in trail
    for secret in secrets[:3]:
        assert secret not in row


def test_an_update_that_the_vendor_forces_is_named_while_it_runs(start_cloud: StartCloud) -> None:
    cloud, household = start_cloud(), make_household()
    owner = make_owner(household)
    node = first(link(cloud, household, owner, GARDEN))
    before = node.fw_version
    page = browser(owner)
    assert "Being updated, not from here" not in page.get("/").content.decode()
    cloud.control("PUT", f"/hubs/{node.node_id}/scenario", {"name": "slow", "factor": 6})
    cloud.control("POST", f"/hubs/{node.node_id}/force_push", {})

    def check() -> None:
        fresh = Node.objects.select_related("account__household").get(pk=node.pk)
        assert ask_check([fresh], actor=person(owner)) == 1
        run_until(lambda: Node.objects.get(pk=node.pk).check_asked_at is None)

    for _ in range(20):  # the hub takes a while to begin
        check()
        if "Being updated, not from here" in page.get("/").content.decode():
            break
    else:
        pytest.fail("the list does not say that the hub is being updated")
    said = "the cloud says that the hub is already installing this update"
    for path in (f"/hubs/{node.pk}/", f"/hubs/{node.pk}/install/"):
        text = page.get(path).content.decode()
        assert said in text, path
        assert "Being updated, not from here" in text, path
        assert "No other install running" not in text
    node.refresh_from_db()
    assert node.next_check_at - timezone.now() < timedelta(minutes=2)
    cloud.control("POST", "/clock", {"advance_s": 3600})
    check()
    assert Node.objects.get(pk=node.pk).fw_version == before, "the list has not been read again"
    assert "Being updated, not from here" not in page.get("/").content.decode()
