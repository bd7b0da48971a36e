"""What nobody has explained is shown as it was said, counted, and listed for staff; every support
code can be looked up and searched for.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from devices.accounts.failures import record_failure
from devices.explanations import unknown_messages
from devices.explanations.explain import every_entry, explain_job, read_code
from devices.explanations.unknown_messages import count_unknown
from devices.installs.reports import keep_status
from devices.models import InstallOutcome, OtaJob, Source, State, UnknownText
from devices.rainmaker.errors import TellPerson
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_user,
    sign_in,
)
from tests.support.story import Story, running, status

pytestmark = pytest.mark.django_db


def signed_in(client: Client, **fields: Any) -> Client:
    sign_in(client, make_user(**fields))
    return client


def test_an_unknown_text_is_counted_once_for_each_time_it_is_new() -> None:
    story = Story(running())
    story.receives(status("in-progress", "Erasing 12 of 90 sectors", 2), times=3)
    story.receives(status("in-progress", "Erasing 13 of 90 sectors", 3))
    story.receives(status("in-progress", "Downloading Firmware Image", 4))
    story.receives(status("pondering", "", 5))
    texts = {(one.word, one.text): one for one in UnknownText.objects.all()}
    assert set(texts) == {("in-progress", "Erasing 12 of 90 sectors"), ("pondering", "")}
    erasing = texts["in-progress", "Erasing 12 of 90 sectors"]
    assert (erasing.count, erasing.hub_models, erasing.source) == (2, "thermacell-hub", Source.HUB)
    assert erasing.last_seen_at > erasing.first_seen_at


def test_which_models_said_it_is_kept_within_bounds() -> None:
    now = timezone.now()
    for number in range(12):
        count_unknown(Source.HUB, "failed", "Squirrels", now, hub_model=f"model, {number}" * 9)
    text = UnknownText.objects.get()
    assert text.count == 12
    assert len(text.hub_models.split(", ")) == unknown_messages.MOST_MODELS


def test_a_cloud_that_makes_up_texts_fills_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_messages, "MOST_ROWS", 5)
    now = timezone.now()
    for _ in range(3):
        count_unknown(Source.HUB, "failed", "Often", now)
    for letter in "abcdefghijkl":
        now += timedelta(seconds=1)
        count_unknown(Source.HUB, "failed", letter * 400 + "\0", now)
    assert UnknownText.objects.count() == 5
    assert UnknownText.objects.filter(text="Often", count=3).exists()


def test_an_error_number_without_an_explanation_is_counted() -> None:
    account = make_account()
    for code in (999999, 999999, 105036, None):
        problem = TellPerson("No.", was_sent=True, status=400, code=code, description="Odd thing")
        record_failure(account, problem, timezone.now())
    text = UnknownText.objects.get()
    assert (text.source, text.word, text.text, text.count) == ("cloud", "999999", "Odd thing", 2)


def test_what_was_said_before_the_push_counts_too() -> None:
    job = make_job()
    keep_status(job, status("pondering", "x"), timezone.now(), is_before_push=True)
    assert UnknownText.objects.get().word == "pondering"


def test_staff_read_what_is_not_explained(client: Client) -> None:
    count_unknown(Source.HUB, "failed", "<b>Squirrels</b>", timezone.now(), hub_model="liv")
    page = signed_in(client, staff_role="support").get(reverse("unrecognised_messages"))
    assert page.status_code == 200
    text = page.content.decode()
    assert "&lt;b&gt;Squirrels&lt;/b&gt;" in text
    assert reverse("unrecognised_messages") in client.get(reverse("support_codes")).content.decode()


def test_others_neither_read_nor_see_a_way_there(client: Client) -> None:
    signed_in(client, role="owner", household=make_household())
    assert client.get(reverse("unrecognised_messages")).status_code == 403
    assert reverse("unrecognised_messages") not in client.get(reverse("hubs")).content.decode()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("TW-R02", "TW-R02"),
        (" tw r02 ", "TW-R02"),
        ("r02", "TW-R02"),
        ("TW-C105036", "TW-C105036"),
        ("Porch 2", ""),
        ("", ""),
        ("5.3.3", ""),
    ],
)
def test_a_code_is_read_as_people_type_it(typed: str, code: str) -> None:
    assert read_code(typed) == code


def test_every_code_can_be_looked_up_and_has_whole_sentences(client: Client) -> None:
    signed_in(client)
    entries = every_entry()
    page = client.get(reverse("support_codes")).content.decode()
    for entry in entries:
        assert entry.sentences
        assert "{" not in "".join((entry.headline, *entry.sentences))
        assert f'id="{entry.code}"' in page
    found = client.get(reverse("support_codes"), {"q": "tw-r02"}).content.decode()
    assert "TW-R02" in found
    assert "TW-R03" not in found
    assert (
        "No matches for" in client.get(reverse("support_codes"), {"q": "TW-Z99"}).content.decode()
    )
    assert "TW-H31" in client.get(reverse("support_codes"), {"q": "project name"}).content.decode()


CASES: list[tuple[State, dict[str, Any]]] = [
    (State.REJECTED, {"outcome": InstallOutcome.ROLLED_BACK}),
    (State.REJECTED, {"outcome": InstallOutcome.REJECTED}),
    (State.LOST, {"outcome": InstallOutcome.SILENT}),
    (State.VERIFIED, {"outcome": InstallOutcome.VERIFIED}),
    (State.VERIFIED, {"outcome": InstallOutcome.VERIFIED_LATE}),
    (State.EXPIRED, {"outcome": InstallOutcome.RESTORED_UNSENT}),
    (State.PUSHING, {"push_unknown": True}),
    (State.REFUSED, {"outcome": ""}),
]


def test_installs_are_found_by_the_code_on_their_page(client: Client) -> None:
    household = make_household()
    signed_in(client, role="owner", household=household)
    account = make_account(household)
    jobs = [
        make_job(make_node(account, name=f"Hub number {number}"), state=state, **fields)
        for number, (state, fields) in enumerate(CASES)
    ]
    for job in jobs:
        code = explain_job(OtaJob.objects.get(pk=job.pk)).code
        page = client.get(reverse("history"), {"q": code.lower()})
        found = [row[0].pk for row in page.context["rows"]]
        assert found == [job.pk], code
        assert f"{reverse('support_codes')}?q={code}" in (
            client.get(reverse("install", args=[job.pk])).content.decode()
        )


def test_a_hub_that_said_it_restarts_is_not_called_lost_from_sight(client: Client) -> None:
    household = make_household()
    signed_in(client, role="owner", household=household)
    job = make_job(
        make_node(make_account(household)),
        state=State.RUNNING,
        is_online=False,
        restarting_at=timezone.now(),
    )
    page = client.get(reverse("install", args=[job.pk])).content.decode()
    assert "Offline, as expected: it reported a restart." in page
