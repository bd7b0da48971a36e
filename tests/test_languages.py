"""The product in other languages: on pages, in the trail, and in messages."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.utils.translation import override

from devices.explanations.explain import every_entry, explain_trouble
from devices.models import AuditEvent, Channel, Node, Role, User
from devices.models.message import Message, MessageCode
from devices.notifications.messages import sentence
from devices.presentation import formatting
from devices.templatetags import devices_ui
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_owner,
    make_user,
)
from tests.support.people import browser

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


def test_a_browser_is_answered_in_its_language() -> None:
    for asked, words in (
        ("de-AT,de", "Melden Sie sich an"),
        ("es", "Inicie sesión"),
        ("fr", "Sign"),
    ):
        answer = Client().get("/account/login/", headers={"accept-language": asked})
        assert words in answer.content.decode()
        assert answer["Content-Language"] == (asked[:2] if asked != "fr" else "en")


def test_the_language_a_person_chose_stays_with_them_everywhere(owner: User) -> None:
    client = browser(owner)
    answer = client.post(
        "/language/", {"language": "de"}, headers={"referer": "http://testserver/history/?q=x"}
    )
    assert answer["Location"] == "/history/?q=x"
    assert owner.households.exists()
    owner.refresh_from_db()
    assert owner.language == "de"
    page = browser(owner).get("/history/", headers={"accept-language": "es"}).content.decode()
    assert '<html lang="de">' in page
    assert "Alle Installationen, die neuesten zuerst." in page


def test_who_is_not_signed_in_chooses_for_the_browser() -> None:
    client = Client()
    client.post("/language/", {"language": "es"})
    assert "Inicie sesión para ver sus hubs." in client.get("/account/login/").content.decode()


@pytest.mark.parametrize("language", ["", "xx", "../../etc", "de\0"])
def test_what_is_no_language_changes_nothing(owner: User, language: str) -> None:
    client = browser(owner)
    assert client.post("/language/", {"language": language}).status_code == 302
    owner.refresh_from_db()
    assert owner.language == ""
    assert settings.LANGUAGE_COOKIE_NAME not in client.cookies


@pytest.mark.parametrize(
    "there",
    ["https://evil.example/", "//evil.example", "history", "http://testserver//x.example/", ""],
)
def test_nobody_is_sent_elsewhere(owner: User, there: str) -> None:
    answer = browser(owner).post("/language/", {"language": "de"}, headers={"referer": there})
    assert answer["Location"] == "/"


def test_the_record_is_kept_in_one_language(owner: User, hub: Node) -> None:
    from devices.installs.confirmation import sign, snapshot_offer

    User.objects.update(language="de")
    client, offer = browser(owner), hub.offer
    assert offer is not None
    answer = client.post(f"/hubs/{hub.pk}/install/", {"agreed": sign(snapshot_offer(hub, offer))})
    assert "Der Hub ist offline." in answer.content.decode()
    refused = AuditEvent.objects.get(action="install.request_refused")
    assert "The hub is offline. It must be online to receive new firmware." in refused.sentence


def test_a_refusal_is_shown_in_the_readers_language_and_recorded_in_english(hub: Node) -> None:
    household = hub.account.household
    viewer = make_user(role=Role.VIEWER, household=household)
    User.objects.filter(pk=viewer.pk).update(language="es")
    answer = browser(viewer).get(f"/hubs/{hub.pk}/install/")
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
            "message": Message.of(
                MessageCode.QUEUE_STOPPED,
                words=Message.of(MessageCode.QUEUE_HUB_FAILED, hub="Porch"),
            ).as_json()
        },
    )
    with override("de"):
        assert sentence(notice) == (
            "Garden: Eine Warteschlange mit Updates wurde angehalten. Das Update auf Porch wurde "
            "nicht verifiziert, daher wurde die Warteschlange angehalten."
        )


def test_the_household_says_in_which_language_it_is_written_to(owner: User) -> None:
    household = owner.households.get()
    body = {"name": household.name, "time_zone": household.time_zone, "language": "es"}
    browser(owner).post(f"/households/{household.pk}/settings/", body)
    household.refresh_from_db()
    assert household.language == "es"
    event = AuditEvent.objects.get(action="household.settings_changed")
    assert event.sentence.endswith("changed the settings of Garden: language none to es.")


def test_why_a_check_or_an_install_waits_is_said_in_the_readers_language(
    owner: User, hub: Node
) -> None:
    english = "The cloud has trouble of its own (HTTP 503)."
    hub.check_trouble, hub.check_trouble_text = "server_trouble", english
    hub.save()
    job = make_job(hub, trouble="server_trouble", trouble_text=english)
    client, german = browser(owner), {"accept-language": "de"}
    with override("de"):
        headline = explain_trouble("server_trouble").headline
    text = client.get(f"/hubs/{hub.pk}/", headers=german).content.decode()
    assert f"Die letzte Prüfung ist fehlgeschlagen: {headline}" in text
    text = client.get(f"/installs/{job.pk}/", headers=german).content.decode()
    assert f'<span class="words">{headline}</span>' in text


def test_numbers_and_times_are_said_as_the_language_has_them() -> None:
    at = datetime(2025, 10, 3, 14, 2, 5, tzinfo=UTC)
    with override("en"):
        assert (formatting.number(3), formatting.number(12345), formatting.size(1_500_000)) == (
            "three",
            "12,345",
            "1.4 MB",
        )
        assert formatting.day_words(at, at + timedelta(days=9)) == "3 Oct"
    with override("de"):
        assert (formatting.number(3), formatting.number(12345), formatting.size(1_500_000)) == (
            "3",
            "12.345",
            "1,4 MB",
        )
        assert formatting.day_words(at, at + timedelta(days=9)) == "3. Okt"
        assert 'title="3. Oktober 2025, ' in devices_ui.on(at)
        assert formatting.ago_words(at, at + timedelta(seconds=90)) == "vor 1 min 30 s"
        assert formatting.span(timedelta(days=3)) == "3 Tage"
    with override("es"):
        assert formatting.ago_words(at, at + timedelta(hours=3)) == "hace 3 h"


@pytest.mark.parametrize("language", OTHERS)
def test_a_verdict_is_explained_completely(language: str) -> None:
    with override("en"):
        english = {entry.code: entry for entry in every_entry()}
    with override(language):
        for entry in every_entry():
            same = set(entry.sentences) & set(english[entry.code].sentences)
            assert not same, f"{entry.code} is still English: {same}"


@pytest.mark.parametrize(("language", "words"), [("en", "Created by"), ("de", "Erstellt von")])
def test_a_receipt_says_when_and_in_which_zone_it_was_made(
    owner: User, hub: Node, language: str, words: str
) -> None:
    User.objects.update(language=language)
    text = browser(owner).get(f"/installs/{make_job(hub).pk}/receipt/").content.decode()
    made = text[text.index(words) :][:400]
    assert "(UTC)" in made


def test_a_role_is_a_word_of_the_language(owner: User) -> None:
    household = owner.households.get()
    client = browser(owner)
    answer = client.post(
        f"/households/{household.pk}/people/", {"email": "new@example.com", "role": Role.OWNER}
    )
    link = re.search(r"/invitation/[^/\"]+/", answer.content.decode())
    assert link is not None
    german = {"accept-language": "de"}
    text = Client().get(link[0], headers=german).content.decode()
    assert "Als Eigentümer verwalten Sie auch Personen" in text
    text = client.get(f"/households/{household.pk}/people/", headers=german).content.decode()
    assert "Eigentümer" in text
    assert "Owner" not in text
