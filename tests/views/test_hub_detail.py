"""A hub's own page."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.accounts.linking import unlink_account
from devices.models import CloudAccount, OtaJob, Role
from tests.support.factories import person
from tests.support.markup import tight
from tests.support.pages import Home

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("md5", "is_one"), [("9f86d081884c7d659a2feaa0c55aa3c1", True), ("a1b2c3d4e5p6", False)]
)
def test_what_is_no_md5_is_said_to_be_none_wherever_one_is_read(
    home: Home, enter: Any, md5: str, is_one: bool
) -> None:
    home.new.offers.update(md5=md5)
    OtaJob.objects.filter(pk=home.job.pk).update(md5=md5)
    client = enter(home.people[Role.MEMBER])
    pages = ["/hubs/{hub}/", "/hubs/{hub}/install/", "/queues/new/?hub={hub}"]
    pages += ["/installs/{job}/", "/installs/{job}/receipt/"]
    for page in pages:
        text = client.get(page.format(hub=home.new.pk, job=home.job.pk)).content.decode()
        assert md5 in text, page
        assert ("not a valid checksum, so the file cannot be verified" in text) is not is_one, page


def test_a_hub_shows_the_line_of_its_versions(home: Home, enter: Any) -> None:
    now = timezone.now()
    for days, version in ((30, "5.3.1"), (3, "5.3.2")):
        home.plain.version_changes.create(
            to_version=version, at=now - timedelta(days=days), cause="outside"
        )
    text = enter(home.people[Role.OWNER]).get(f"/hubs/{home.plain.pk}/").content.decode()
    line = text[text.index('class="line"') :]
    assert line.index("5.3.1") < line.index("5.3.2")


@pytest.mark.parametrize("hub", ["new", "plain"])
def test_a_hub_of_an_unlinked_account_says_so_and_promises_nothing(
    home: Home, enter: Any, hub: str
) -> None:
    home.account.forget_secrets()  # the cloud is not asked
    unlink_account(home.account, actor=person(home.people[Role.OWNER]))
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{getattr(home, hub).pk}/"
    text = client.get(path).content.decode()
    assert "Cloud account unlinked <time" in text
    assert "The details are from that time." in text
    for gone in (
        "next check",
        "Check now",
        "Review update",
        "No version newer than",
        "online since",
    ):
        assert gone not in text.replace("\n", " ")
    assert "History" in text
    assert ("5.3.3 offered" in text) == (hub == "new")
    owner = home.people[Role.OWNER].email
    unlinked = r"<li>[^<]*<span>(?:(?!</li>).)*Cloud account unlinked</span>.*?</li>"
    lines = re.findall(unlinked, tight(text))
    assert [f">by {owner}<" in line for line in lines] == [True]
    answer = client.post(f"{path}check/", follow=True).content.decode()
    assert "cannot be checked: its cloud account is unlinked." in answer


def test_when_it_was_unlinked_is_left_out_where_the_trail_forgot(home: Home, enter: Any) -> None:
    CloudAccount.objects.update(state="unlinked")
    text = enter(home.people[Role.VIEWER]).get(f"/hubs/{home.plain.pk}/").content.decode()
    assert "Cloud account unlinked. The details are from that time." in text


def test_a_hub_of_a_signed_out_account_is_not_called_unlinked(home: Home, enter: Any) -> None:
    CloudAccount.objects.update(state="signed_out")
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{home.plain.pk}/"
    assert "was unlinked" not in client.get(path).content.decode()
    answer = client.post(f"{path}check/", follow=True).content.decode()
    assert "cannot be checked: its cloud account is signed out." in answer


def test_each_sentence_about_how_a_hub_is_now_begins_with_a_capital(home: Home, enter: Any) -> None:
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{home.plain.pk}/"

    def lead() -> str:
        found = re.search(r'<p class="lead">(.*?)</p>', client.get(path).content.decode(), re.S)
        assert found
        return " ".join(re.sub(r"<[^>]+>", "", found[1]).split())

    for is_online in (True, False, None):
        home.plain.touch(timezone.now(), is_online=is_online, online_changed_at=timezone.now())
        assert lead()[0].isupper(), lead()
        assert not re.search(r"\. [a-z]", lead()), lead()
    assert home.plain.is_online is None
    home.plain.touch(timezone.now(), is_online=True, online_changed_at=None, repellent="protected")
    assert lead().startswith("Online")


def test_a_hub_that_restarts_for_an_install_is_said_to_do_as_expected(
    home: Home, enter: Any
) -> None:
    home.busy.touch(timezone.now(), is_online=False, online_changed_at=timezone.now())
    client, path = enter(home.people[Role.OWNER]), f"/hubs/{home.busy.pk}/"
    assert "as expected" not in client.get(path).content.decode()
    OtaJob.objects.filter(pk=home.running.pk).update(
        restarting_at=timezone.now(), is_online=False, cloud_word="in-progress"
    )
    assert "restarting, as expected" in client.get(path).content.decode()
    OtaJob.objects.filter(pk=home.running.pk).update(back_online_at=timezone.now())
    assert "as expected" not in client.get(path).content.decode()


def test_the_page_of_a_hub_leads_to_what_its_household_can_set(home: Home, enter: Any) -> None:
    text = enter(home.people[Role.VIEWER]).get(f"/hubs/{home.plain.pk}/").content.decode()
    for page in ("updates", "notifications", "season"):
        assert f'href="/households/{home.household.pk}/{page}/"' in text
