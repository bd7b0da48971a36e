"""The household's page Home Assistant: what an owner decides, and what it never shows."""

import json
import re
from typing import Any

import pytest
import yaml
from django.utils import timezone

from devices.homeassistant.settings import broker_url_of, link_of
from devices.households import api_tokens
from devices.models import (
    AuditEvent,
    Beat,
    HomeAssistantLink,
    Household,
    MayInstall,
    Node,
    Role,
    User,
)
from devices.models.api_token import Scope
from devices.views import homeassistant_yaml
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
)

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
        values = {"is_on": "on", "may_install": "no", "discovery_prefix": "homeassistant"}
        return self.browser.post(self.path, values | wishes)

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
    assert "Select at least one" in page.post(may_install="some").content.decode()
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
    box = r'<input type="checkbox" name="hubs" value="{}" id="id_hubs_\d"{}>\s*{}</label>'
    assert re.search(box.format(shown.pk, " checked", re.escape(name)), text)
    assert re.search(box.format(other.pk, "", "Deck"), text)


def test_a_broker_of_ones_own_is_kept_sealed_and_never_shown() -> None:
    page = Page()
    assert page.post(broker_url=f"mqtt://me:{SECRET}@own.example.org:1884").status_code == 302
    link = page.link
    assert SECRET not in link.sealed_broker_url
    assert broker_url_of(link) == f"mqtt://me:{SECRET}@own.example.org:1884"
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
        ({"discovery_prefix": "home/#"}, "letters, digits"),
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
    assert "Enter your own" in page.post().content.decode()
    assert not HomeAssistantLink.objects.exists()


def test_two_households_do_not_announce_where_the_other_listens() -> None:
    first = Page()
    first.post()
    second = Page(make_household())
    assert "Another household already uses" in second.post().content.decode()
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


def test_the_state_of_the_connection_is_shown_in_words() -> None:
    page = Page()
    assert "sees none of these hubs" in page.get()
    page.post()
    assert "The bridge is not running" in page.get()
    Beat.objects.create(name="homeassistant", beat_at=timezone.now())
    HomeAssistantLink.objects.update(state="lost", trouble="refused")
    assert "Check the user name and password" in page.get()
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
    assert "waiting for the answer" in live
    assert "hx-trigger" in live
    HomeAssistantLink.objects.update(test_answered_at=timezone.now())
    live = page.browser.get(f"{page.path}line/").content.decode()
    assert "answer after" in live
    assert "hx-trigger" not in live


# home-assistant.io/integrations/rest, rest_command, script: the keys that are used here
REST_SENSOR = {
    "sensor": {"name", "unique_id", "icon", "value_template", "json_attributes"},
    "binary_sensor": {"name", "unique_id", "device_class", "value_template"},
}


def pasted(page: Page) -> Any:
    text = page.browser.get(page.path).context["configuration"]
    return yaml.safe_load(text.replace("!secret ", ""))


def test_what_is_to_be_pasted_is_yaml_for_any_hub_name(settings: Any) -> None:
    settings.PUBLIC_URL = "https://hubs.example.org"
    page = Page()
    account = make_account(page.household)
    node = make_node(account, name="Porch\n: - {{ 7 }} # \" ' \N{HOT BEVERAGE} </pre> {% if %}")
    shown = page.browser.get(page.path)
    values = pasted(page)
    assert values["rest"][0]["resource"] == f"https://hubs.example.org/api/v1/hubs/{node.pk}/"
    assert values["rest_command"]["thermacell_web_install"]["url"] == (
        "https://hubs.example.org/api/v1/installs/"
    )
    assert "Porch" not in str(values), "names are in comments only"
    assert "&lt;/pre&gt;" in shown.content.decode()
    assert "WARNING" not in shown.context["configuration"]


def test_what_is_to_be_pasted_has_only_keys_that_home_assistant_takes() -> None:
    page = Page()
    node = make_node(make_account(page.household))
    values = pasted(page)
    assert values.keys() == {"rest", "rest_command", "script"}
    (entry,) = values["rest"]
    for platform, known in REST_SENSOR.items():
        for one in entry[platform]:
            # one key too many, and Home Assistant drops every rest entry, the user's own too
            assert one.keys() <= known, platform
    attributes = entry["sensor"][0]["json_attributes"]
    assert {"available_version", "description", "file_size"} <= set(attributes)
    make_offer(node)
    token = api_token(page, node)
    answer = Client().get(f"/api/v1/hubs/{node.pk}/", headers={"authorization": f"Bearer {token}"})
    assert set(attributes) <= answer.json().keys(), "the address has them at the top"
    assert answer.json()["available_version"] == "5.3.3"


def api_token(page: Page, node: Node) -> str:
    actor = person(page.user)
    _, token = api_tokens.make(
        page.household, user=page.user, name="Home", scope=Scope.READ, actor=actor
    )
    return token


def test_versions_and_jobs_that_look_like_numbers_stay_texts() -> None:
    page = Page()
    make_node(make_account(page.household))
    command = pasted(page)["rest_command"]["thermacell_web_install"]
    # quoted by tojson, whatever they look like; make homeassistant has it rendered for real
    holes = dict(re.findall(r'"(\w+)": \{\{ (.+?) \}\}', command["payload"]))
    assert holes.keys() == {"node_id", "ota_job_id", "fw_version"}
    assert all(hole.endswith(" | string | tojson") for hole in holes.values())
    assert json.loads(re.sub(r"\{\{.+?\}\}", '"x"', command["payload"]))
    # and no version or job passes through a script's data, where 5.10 becomes 5.1
    steps = next(iter(pasted(page)["script"].values()))["sequence"]
    assert steps[1]["data"].keys() == {"sensor"}


def test_hubs_that_are_left_out_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homeassistant_yaml, "MOST_HUBS", 2)
    page = Page()
    account = make_account(page.household)
    for _ in range(5):
        make_node(account)
    values = pasted(page)
    assert len(values["rest"]) == len(values["script"]) == 2
    assert "3 hubs are not in this file" in page.get()
    assert (
        "# 3 more hubs are not in this file" in page.browser.get(page.path).context["configuration"]
    )


def test_a_household_without_hubs_gets_yaml_too() -> None:
    assert pasted(Page())["rest"] == []


def test_links_that_open_on_this_computer_only_come_with_a_warning(settings: Any) -> None:
    settings.PUBLIC_URL = "http://localhost:8000"
    page = Page()
    make_node(make_account(page.household))
    assert "open only on this computer" in page.get()
    assert "# WARNING" in page.browser.get(page.path).context["configuration"]
    settings.PUBLIC_URL = "https://hubs.example.org"
    assert "open only on this computer" not in page.get()
