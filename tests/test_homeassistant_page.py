"""The household's page Home Assistant: what an owner decides, and what it never shows."""

from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone

from devices.homelink import link_of
from devices.models import (
    AuditEvent,
    Beat,
    HomeAssistantLink,
    Household,
    MayInstall,
    Role,
    User,
)
from tests.factories import make_account, make_household, make_node, make_owner, make_user

pytestmark = pytest.mark.django_db
SECRET = "fireflies-at-dusk"


class Page:
    """The page as an owner has it open."""

    def __init__(self, household: Household | None = None, user: User | None = None) -> None:
        self.household = household or make_household("Garden house")
        self.user = user or make_owner(self.household)
        self.browser = Client()
        self.browser.force_login(self.user)
        self.path = f"/households/{self.household.pk}/home-assistant/"

    def get(self) -> str:
        return self.browser.get(self.path).content.decode()

    def post(self, **wishes: Any) -> Any:
        told = {"is_on": "on", "may_install": "no", "discovery_prefix": "homeassistant"}
        return self.browser.post(self.path, told | wishes)

    @property
    def link(self) -> HomeAssistantLink:
        return HomeAssistantLink.objects.get(household=self.household)


@pytest.fixture(autouse=True)
def _a_broker(settings: Any) -> None:
    settings.MQTT_URL = f"mqtt://server:{SECRET}@broker.example.org"


def test_an_owner_shows_the_hubs_and_the_trail_says_so() -> None:
    page = Page()
    assert page.post().status_code == 302
    assert page.link.is_on
    event = AuditEvent.objects.get(action="household.home_assistant_changed")
    assert event.actor_name == page.user.email
    assert event.detail["to"]["is_on"] is True
    assert page.post().status_code == 302
    assert AuditEvent.objects.filter(action=event.action).count() == 1, "nothing changed"


def test_allowing_keeps_who_allowed_it() -> None:
    page = Page()
    page.post(may_install="all")
    assert (page.link.may_install, page.link.allowed_by) == (MayInstall.ALL, page.user)
    # another owner who saves the page changes nothing of that
    other = Page(page.household)
    other.post(may_install="all")
    assert page.link.allowed_by == page.user
    # unless the first one owns the household no longer
    page.user.memberships.update(role=Role.MEMBER)
    other.post(may_install="all")
    assert page.link.allowed_by == other.user
    other.post(may_install="no")
    assert page.link.allowed_by is None


def test_some_hubs_are_chosen_from_the_households_own() -> None:
    page = Page()
    mine = make_node(make_account(page.household))
    theirs = make_node(make_account(make_household()))
    assert "Choose at least one" in page.post(may_install="some").content.decode()
    assert page.post(may_install="some", hubs=[theirs.pk]).status_code == 200
    assert page.post(may_install="some", hubs=[mine.pk]).status_code == 302
    assert page.link.allowed_ids() == {mine.pk}
    assert page.link.lets_install_on(mine)
    assert not page.link.lets_install_on(theirs)


def test_the_chosen_hubs_are_ticked_and_names_are_written_as_they_are() -> None:
    page = Page()
    account = make_account(page.household, base_url="https://cloud.example.org")
    shown = make_node(account, name='<b>"Porch"</b> & more')
    page.post(may_install="some", hubs=[shown.pk])
    other = make_node(account, name="Deck")
    text = page.get()
    name = "&lt;b&gt;&quot;Porch&quot;&lt;/b&gt; &amp; more"
    box = '<label><input name="hubs" type="checkbox" value="{}"{}> {}</label>'
    assert box.format(shown.pk, " checked", name) in text
    assert box.format(other.pk, "", "Deck") in text


def test_a_broker_of_ones_own_is_kept_sealed_and_never_shown() -> None:
    page = Page()
    assert page.post(broker_url=f"mqtt://me:{SECRET}@own.example.org:1884").status_code == 302
    link = page.link
    assert SECRET not in link.sealed_broker_url
    assert link.broker_url() == f"mqtt://me:{SECRET}@own.example.org:1884"
    shown = page.get()
    assert "own.example.org:1884" in shown
    assert SECRET not in shown
    for event in AuditEvent.objects.all():
        assert SECRET not in event.sentence + str(event.detail)
    page.post()
    assert page.link.has_own_broker, "an empty field keeps it"
    page.post(forget_broker="on")
    assert not page.link.has_own_broker


def test_the_servers_password_is_never_shown() -> None:
    page = Page()
    page.post()
    assert "broker.example.org:1883" in page.get()
    assert SECRET not in page.get()


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"broker_url": "own.example.org"}, "must read mqtt://"),
        ({"broker_url": "mqtt://own.example.org", "ca_pem": "x"}, "begins with mqtts://"),
        ({"broker_url": "mqtts://own.example.org", "client_pem": "x"}, "cannot be read"),
        ({"discovery_prefix": "home/#"}, "Letters, digits"),
        ({"discovery_prefix": ""}, "required"),
        ({"may_install": "perhaps"}, "valid choice"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(wishes: dict[str, str], sentence: str) -> None:
    page = Page()
    answer = page.post(**wishes)
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not HomeAssistantLink.objects.exists()


def test_without_any_broker_hubs_cannot_be_shown(settings: Any) -> None:
    settings.MQTT_URL = ""
    page = Page()
    assert "name one of your own" in page.post().content.decode()
    assert not HomeAssistantLink.objects.exists()


def test_two_households_do_not_announce_where_the_other_listens() -> None:
    first = Page()
    first.post()
    second = Page(make_household())
    assert "Another household announces" in second.post().content.decode()
    suggested = link_of(second.household).discovery_prefix
    assert suggested.startswith("homeassistant-")
    assert second.post(discovery_prefix=suggested).status_code == 302
    # at a broker of its own the usual prefix is free
    assert second.post(broker_url="mqtt://own.example.org").status_code == 302
    # and naming the server's own broker as one's own does not get around it
    assert (
        "Another household" in second.post(broker_url="mqtt://broker.example.org").content.decode()
    )


def test_who_owns_both_households_may_show_them_in_one_place() -> None:
    both = Page()
    both.post()
    cabin = make_household()
    cabin.memberships.create(user=both.user, role=Role.OWNER)
    assert Page(cabin, both.user).post().status_code == 302


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_decide(role: str) -> None:
    household = make_household()
    page = Page(household, make_user(role=role, household=household))
    assert page.browser.get(page.path).status_code == 403
    assert page.post().status_code == 403
    assert page.browser.post(f"{page.path}test/").status_code == 403
    stranger = Page(household, make_owner(make_household()))
    assert stranger.post().status_code == 404


def test_the_line_is_told_in_words() -> None:
    page = Page()
    assert "sees none of these hubs" in page.get()
    page.post()
    assert "The bridge is not running" in page.get()
    Beat.objects.create(name="homeassistant", beat_at=timezone.now())
    HomeAssistantLink.objects.update(state="lost", trouble="refused")
    assert "user name or password is wrong" in page.get()
    HomeAssistantLink.objects.update(state="connected", trouble="")
    assert "Connected" in page.get()


def test_a_test_is_asked_for_and_followed() -> None:
    page = Page()
    page.post()
    revision = page.link.revision
    assert page.browser.post(f"{page.path}test/").status_code == 302
    assert page.link.is_testing
    assert page.link.revision > revision, "so that the bridge looks"
    live = page.browser.get(f"{page.path}line/").content.decode()
    assert "waiting for it to come back" in live
    assert "hx-trigger" in live
    HomeAssistantLink.objects.update(test_answered_at=timezone.now())
    live = page.browser.get(f"{page.path}line/").content.decode()
    assert "came back after" in live
    assert "hx-trigger" not in live


def test_what_is_to_be_pasted_is_yaml_whatever_a_hub_is_called(settings: Any) -> None:
    settings.PUBLIC_URL = "https://hubs.example.org"
    page = Page()
    account = make_account(page.household)
    node = make_node(account, name="Porch\n: - {{ 7 }} # \" ' \N{HOT BEVERAGE} </pre>")
    shown = page.browser.get(page.path)
    text = shown.context["configuration"]
    told = yaml.safe_load(text.replace("!secret ", ""))
    assert told["rest"][0]["resource"] == f"https://hubs.example.org/api/v1/hubs/{node.pk}/"
    assert told["rest_command"]["thermacell_web_install"]["url"] == (
        "https://hubs.example.org/api/v1/installs/"
    )
    assert "Porch" not in str(told), "names are in comments only"
    assert "&lt;/pre&gt;" in shown.content.decode()
