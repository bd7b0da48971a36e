"""The product in other languages: whoever reads it, what is recorded, and what is sent."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils.translation import gettext, override

from devices.models import AuditEvent, Channel, Node, Role, User
from devices.notices import sentence
from devices.stored import SENTENCES, told_again
from devices.templatetags import show
from tests.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
)

pytestmark = pytest.mark.django_db
OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]


@pytest.fixture
def owner() -> User:
    return make_owner(make_household("Garden"))


@pytest.fixture
def hub(owner: User) -> Node:
    node = make_node(make_account(owner.households.get()), name="Back porch", is_online=False)
    make_offer(node)
    return node


def entered(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_browser_is_answered_in_its_language() -> None:
    for asked, words in (
        ("de-AT,de", "Melden Sie sich an"),
        ("es", "Inicie sesión"),
        ("fr", "Sign"),
    ):
        answer = Client().get("/account/login/", headers={"accept-language": asked})
        assert words in answer.content.decode()
        assert answer["Content-Language"] == (asked[:2] if asked != "fr" else "en")


def test_what_somebody_chose_stays_with_them_everywhere(owner: User) -> None:
    client = entered(owner)
    answer = client.post(
        "/language/", {"language": "de"}, headers={"referer": "http://testserver/history/?q=x"}
    )
    assert answer["Location"] == "/history/?q=x"
    assert owner.households.exists()
    owner.refresh_from_db()
    assert owner.language == "de"
    page = entered(owner).get("/history/", headers={"accept-language": "es"}).content.decode()
    assert '<html lang="de">' in page
    assert "Jede Installation, die neueste zuerst." in page


def test_who_is_not_signed_in_chooses_for_the_browser() -> None:
    client = Client()
    client.post("/language/", {"language": "es"})
    assert "Inicie sesión para ver sus hubs." in client.get("/account/login/").content.decode()


@pytest.mark.parametrize("language", ["", "xx", "../../etc", "de\0"])
def test_what_is_no_language_changes_nothing(owner: User, language: str) -> None:
    client = entered(owner)
    assert client.post("/language/", {"language": language}).status_code == 302
    owner.refresh_from_db()
    assert owner.language == ""
    assert settings.LANGUAGE_COOKIE_NAME not in client.cookies


@pytest.mark.parametrize(
    "there",
    ["https://evil.example/", "//evil.example", "history", "http://testserver//x.example/", ""],
)
def test_nobody_is_sent_elsewhere(owner: User, there: str) -> None:
    answer = entered(owner).post("/language/", {"language": "de"}, headers={"referer": there})
    assert answer["Location"] == "/"


def test_the_record_is_kept_in_one_language(owner: User, hub: Node) -> None:
    from devices.confirm import bind, sign

    User.objects.update(language="de")
    client, offer = entered(owner), hub.offer
    assert offer is not None
    answer = client.post(f"/hubs/{hub.pk}/install/", {"agreed": sign(bind(hub, offer))})
    assert "Der Hub ist offline." in answer.content.decode()
    refused = AuditEvent.objects.get(action="install.request_refused")
    assert "The hub is offline. It must be online to take new firmware." in refused.sentence


def test_a_refusal_is_told_in_the_readers_language_and_recorded_in_english(hub: Node) -> None:
    household = hub.account.household
    viewer = make_user(role=Role.VIEWER, household=household)
    User.objects.filter(pk=viewer.pk).update(language="es")
    answer = entered(viewer).get(f"/hubs/{hub.pk}/install/")
    assert "no le permite instalar firmware" in answer.content.decode()
    event = AuditEvent.objects.get(action="access.refused")
    assert "may not install firmware in Garden" in event.sentence


def test_programs_are_answered_in_one_language(owner: User) -> None:
    answer = Client().get("/api/v1/hubs/", headers={"accept-language": "de"})
    assert answer.json()["error"]["sentence"].startswith("This address needs a token")


def test_mail_speaks_the_readers_language_and_services_that_of_the_household(owner: User) -> None:
    household = owner.households.get()
    mail = Channel(household=household, user=owner)
    service = Channel(household=household, name="chat")
    assert (mail.language, service.language) == ("en", "en")
    household.language = "es"
    assert (mail.language, service.language) == ("es", "es")
    owner.language = "de"
    assert (mail.language, service.language) == ("de", "es")
    household.language = "a language that was taken out"
    assert service.language == "en"


def test_a_notice_is_a_sentence_in_the_language_it_is_sent_in(hub: Node) -> None:
    from django.utils import timezone

    from devices.models import Notice, Topic

    notice = Notice(
        household=hub.account.household,
        topic=Topic.NEEDS_YOU,
        at=timezone.now(),
        facts={
            "words": "A queue of updates stopped. "
            "Porch did not end well, so nothing more was started."
        },
    )
    with override("de"):
        assert sentence(notice) == (
            "Garden: Eine Warteschlange von Updates hielt an. "
            "Porch ging nicht gut aus, darum wurde nichts mehr begonnen."
        )


def test_the_household_says_in_which_language_it_is_written_to(owner: User) -> None:
    household = owner.households.get()
    body = {"name": household.name, "time_zone": household.time_zone, "language": "es"}
    entered(owner).post(f"/households/{household.pk}/settings/", body)
    household.refresh_from_db()
    assert household.language == "es"
    event = AuditEvent.objects.get(action="household.settings_changed")
    assert event.sentence.endswith("changed the settings of Garden: language none to es.")


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("stored", SENTENCES)
def test_stored_sentences_are_told_again(stored: str, language: str) -> None:
    values = {"name": "Ann", "hub": "Porch 1.", "words": "Stopped by Ann.", "version": "5.4.0"}
    values |= {
        "known": "slack://",
        "problem": "SMTPDataError",
        "bytes": "12",
        "said": "13",
        "md5": "ab",
    }
    with override(language):
        told = told_again(stored % values)
        assert told != stored % values
        assert told == gettext(stored) % (values | {"words": told_again("Stopped by Ann.")})


def test_several_stored_sentences_are_told_one_after_the_other() -> None:
    both = "The hub is in use. The hub is offline. It must be online to take new firmware."
    with override("de"):
        assert told_again(both) == (
            "Der Hub ist in Betrieb. "
            "Der Hub ist offline. Er muss online sein, um neue Firmware zu bekommen."
        )


def test_what_is_none_of_our_sentences_stays_as_it_is() -> None:
    with override("de"):
        assert (
            told_again("Something else. The hub is in use.") == "Something else. The hub is in use."
        )
        assert told_again("") == ""


def test_numbers_and_times_are_said_as_the_language_has_them() -> None:
    at = datetime(2025, 10, 3, 14, 2, 5, tzinfo=UTC)
    with override("en"):
        assert (show.number(3), show.number(12345), show.size(1_500_000)) == (
            "three",
            "12,345",
            "1.4 MB",
        )
        assert show.day_words(at, at + timedelta(days=9)) == "3 Oct"
    with override("de"):
        assert (show.number(3), show.number(12345), show.size(1_500_000)) == (
            "3",
            "12.345",
            "1,4 MB",
        )
        assert show.day_words(at, at + timedelta(days=9)) == "3. Okt"
        assert 'title="3. Oktober 2025, ' in show.on(at)
        assert show.ago_words(at, at + timedelta(seconds=90)) == "vor 1 min 30 s"
        assert show.span(timedelta(days=3)) == "3 Tage"
    with override("es"):
        assert show.ago_words(at, at + timedelta(hours=3)) == "hace 3 h"


@pytest.mark.parametrize("language", OTHERS)
def test_a_verdict_is_told_whole(language: str) -> None:
    from devices.explain import every_entry

    with override("en"):
        english = {entry.code: entry for entry in every_entry()}
    with override(language):
        for entry in every_entry():
            same = set(entry.sentences) & set(english[entry.code].sentences)
            assert not same, f"{entry.code} is still English: {same}"


@pytest.mark.parametrize(("language", "words"), [("en", "Made by"), ("de", "Gemacht von")])
def test_a_receipt_says_when_and_in_which_zone_it_was_made(
    owner: User, hub: Node, language: str, words: str
) -> None:
    from tests.factories import make_job

    User.objects.update(language=language)
    text = entered(owner).get(f"/installs/{make_job(hub).pk}/receipt/").content.decode()
    made = text[text.index(words) :][:400]
    assert "(UTC)" in made


def test_a_role_is_a_word_of_the_language(owner: User) -> None:
    household = owner.households.get()
    client = entered(owner)
    answer = client.post(
        f"/households/{household.pk}/people/", {"email": "new@example.com", "role": Role.OWNER}
    )
    link = re.search(r"/invitation/[^/\"]+/", answer.content.decode())
    assert link is not None
    german = {"accept-language": "de"}
    assert "Als Eigentümer:" in Client().get(link[0], headers=german).content.decode()
    text = client.get(f"/households/{household.pk}/people/", headers=german).content.decode()
    assert "Eigentümer" in text
    assert "Owner" not in text
