"""Setting an update policy on its page, and stopping a version by the link of a notice."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from devices.models import (
    Channel,
    Dismissal,
    Notice,
    OtaJob,
    PolicyMode,
    PushDevice,
    Role,
    UpdatePolicy,
)
from devices.notifications import push_devices
from devices.notifications.channels import set_provider_url
from devices.notifications.delivery import Words, send_due
from devices.notifications.push_devices import read_subscription
from devices.planning import policies, season
from devices.planning.policy_links import Link, make_link, open_link, path_of
from devices.planning.policy_rules import hub_of, next_evening
from tests.support.client import Client
from tests.support.factories import make_account, make_node, make_user, person
from tests.support.hostile_server import HostileServer
from tests.support.notifications import service_url
from tests.support.people import browser
from tests.support.policies import EVENING, OPENING, PolicyHome, evening, pass_time
from tests.support.push_service import Browser

pytestmark = pytest.mark.django_db
FORM = {
    "mode": "install",
    "window_start": "22:00",
    "window_end": "05:00",
    "waiting_days": "0",
    "others_after_days": "0",
    "idle_minutes": "30",
}


@pytest.fixture
def home() -> PolicyHome:
    return PolicyHome(hubs=2)


def path(home: PolicyHome) -> str:
    return f"/households/{home.household.pk}/updates/"


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def shown_in(answer: Any) -> str:
    found = re.search(r'name="shown" value="([^"]+)"', answer.content.decode())
    assert found
    return found.group(1)


def test_what_it_would_do_is_shown_before_it_may(home: PolicyHome) -> None:
    client = browser(home.owner)
    text = text_of(client.get(path(home)))
    assert "New firmware is installed when you say so." in text
    home.set(home.nodes[1], is_online=False)
    for act in ("show", "save"):  # the second without having been shown anything
        answer = client.post(path(home), FORM | {"act": act})
        text = text_of(answer)
        assert "Nothing is saved yet." in text
        assert "1 hub would install" in text
        assert "Would install" in text
        assert "The hub is offline." in text
        assert not UpdatePolicy.objects.exists()
    changed = client.post(
        path(home), FORM | {"act": "save", "shown": shown_in(answer)} | {"waiting_days": "3"}
    )
    assert "Nothing is saved yet." in text_of(changed), "other settings are shown again"
    assert not UpdatePolicy.objects.exists()
    client.post(path(home), FORM | {"act": "save", "shown": shown_in(answer)})
    policy = UpdatePolicy.objects.get()
    assert (policy.mode, policy.set_by, policy.idle_minutes) == ("install", home.owner, 30)
    assert "New firmware installs itself." in text_of(client.get(path(home)))


def test_switching_it_off_is_one_press(home: PolicyHome) -> None:
    home.rule()
    browser(home.owner).post(path(home), FORM | {"mode": "ask"})
    assert UpdatePolicy.objects.get().mode == PolicyMode.ASK
    assert UpdatePolicy.objects.get().next_look_at is None


def test_one_hub_differs_by_its_own_field(home: PolicyHome) -> None:
    client, hub = browser(home.owner), {f"hub-{home.nodes[0].pk}": "ask"}
    answer = client.post(path(home), FORM | hub)
    assert "The update policy asks you for this hub." in text_of(answer)
    client.post(path(home), FORM | hub | {"act": "save", "shown": shown_in(answer)})
    assert policies.modes_of(UpdatePolicy.objects.get()) == {hub_of(home.nodes[0]): PolicyMode.ASK}


def test_a_hub_of_two_accounts_has_one_mode_on_the_page(home: PolicyHome) -> None:
    """Whichever of its rows is shown: that may change with each reading."""
    node = home.nodes[0]
    twin = make_node(
        make_account(home.household, base_url=home.account.base_url), node_id=node.node_id
    )
    home.rule(hubs={twin.pk: PolicyMode.ASK})
    client = browser(home.owner)
    asks = '<option value="ask" selected>'
    fields = text_of(client.get(path(home))).partition(f'id="hub-{node.pk}"')[2]
    assert asks in fields.partition("</select>")[0]
    # like the household again: the entry of the other row goes too
    answer = client.post(path(home), FORM | {f"hub-{node.pk}": ""})
    saved = {"act": "save", "shown": shown_in(answer), f"hub-{node.pk}": ""}
    client.post(path(home), FORM | saved)
    assert policies.modes_of(UpdatePolicy.objects.get()) == {}
    assert asks not in text_of(client.get(path(home))).partition("<table")[2]


def test_a_hub_elsewhere_cannot_be_named(home: PolicyHome) -> None:
    other = PolicyHome()
    browser(home.owner).post(path(home), FORM | {"mode": "ask", f"hub-{other.node.pk}": "install"})
    assert UpdatePolicy.objects.get().hubs.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [{"window_end": "22:00"}, {"waiting_days": "5"}, {"mode": "later"}, {"idle_minutes": ""}],
)
def test_a_rule_that_cannot_be_is_not_saved(home: PolicyHome, wrong: dict[str, str]) -> None:
    answer = browser(home.owner).post(path(home), FORM | wrong)
    assert 'aria-invalid="true"' in text_of(answer)
    assert not UpdatePolicy.objects.exists()


def test_only_where_saving_it_again_helps_the_page_says_so(home: PolicyHome) -> None:
    home.rule()
    member = make_user(role=Role.MEMBER, household=home.household)
    other = make_user(role=Role.OWNER, household=home.household)
    again = "Save it again to take it over."
    season.store(home.household, actor=person(home.owner))
    text = text_of(browser(other).get(path(home)))
    assert "The household is stored for winter." in text
    assert again not in text
    season.wake(home.household, actor=person(home.owner))
    home.owner.memberships.update(role=Role.MEMBER)
    text = text_of(browser(other).get(path(home)))
    assert f"The owner who set the update policy lost that right. {again}" in text
    text = text_of(browser(member).get(path(home)))
    assert "lost that right. It rests until an owner saves it again." in text


def test_members_read_it_and_only_owners_set_it(home: PolicyHome) -> None:
    home.rule()
    member = make_user(role=Role.MEMBER, household=home.household)
    client = browser(member)
    text = text_of(client.get(path(home)))
    assert "New firmware installs itself." in text
    assert "<select" not in text.partition("<main")[2].partition("</main")[0]
    assert client.post(path(home), FORM | {"mode": "ask"}).status_code == 403
    assert UpdatePolicy.objects.get().mode == PolicyMode.INSTALL


def test_a_viewer_does_not_read_the_address_of_who_set_it(home: PolicyHome) -> None:
    home.rule()
    evening(EVENING)
    viewer = make_user(role=Role.VIEWER, household=home.household)
    for page in (path(home), "/planned/", f"/hubs/{home.node.pk}/"):
        assert home.owner.email not in text_of(browser(viewer).get(page))


def test_its_plans_are_listed_as_the_policys(home: PolicyHome) -> None:
    home.rule(timezone.now())
    evening(next_evening(UpdatePolicy.objects.get(), timezone.now()))
    client = browser(home.owner)
    text = text_of(client.get("/planned/"))
    assert "planned by the update policy" in text
    assert path(home) in text
    assert "Not this one" in text
    assert "By the update policy." in text_of(client.get(f"/hubs/{home.node.pk}/"))
    plan = home.plans[0]
    client.post(f"/planned/{plan.pk}/cancel/")
    assert Dismissal.objects.get().node_id == plan.node_id


# --- the link


def link(home: PolicyHome, user: Any = None) -> str:
    """Return the link in the mail to this member."""
    user = user or home.owner
    channel, _ = Channel.objects.get_or_create(household=home.household, user=user, device=None)
    return make_link(Link(channel, user, ["5.3.3"]))


@pytest.fixture
def announced(home: PolicyHome) -> PolicyHome:
    home.rule()
    evening(EVENING)
    assert len(home.plans) == 2
    return home


def test_looking_at_the_link_stops_nothing(announced: PolicyHome) -> None:
    """Mail scanners look at every link."""
    for verb in ("get", "head"):
        assert getattr(Client(), verb)(link(announced)).status_code == 200
    assert len(announced.plans) == 2
    assert not Dismissal.objects.exists()


def test_one_press_without_an_account_stops_the_version_everywhere(announced: PolicyHome) -> None:
    client, address = Client(), link(announced)
    text = text_of(client.get(address))
    for words in ("Hub 1", "Hub 2", "Not this one"):
        assert words in text
    for _ in range(2):
        answer = client.post(address, {"version": "5.3.3"})
        assert answer.status_code == 200
        assert "5.3.3 is not installed here." in text_of(answer)
    dismissal = Dismissal.objects.get()
    assert (dismissal.node, dismissal.version) == (None, "5.3.3")
    assert dismissal.dismissed_by_name == f"{announced.owner.email} (by the link they were sent)"
    pass_time(OPENING)
    assert not OtaJob.objects.exists()
    assert announced.plans == []


def test_it_stops_no_other_version(announced: PolicyHome) -> None:
    announced.node.offers.update(fw_version="9.9.9")
    answer = Client().post(link(announced), {"version": "9.9.9"})
    assert answer.status_code == 409
    assert not Dismissal.objects.exists()


def test_after_the_start_it_stops_the_other_hubs(announced: PolicyHome) -> None:
    pass_time(OPENING)
    assert OtaJob.objects.count() == 1
    Client().post(link(announced), {"version": "5.3.3"})
    assert announced.plans == []
    assert OtaJob.objects.count() == 1


@pytest.mark.parametrize("change", ["viewer", "left", "closed", "ended"])
def test_it_ends_with_the_right_it_was_made_by(announced: PolicyHome, change: str) -> None:
    member = make_user(role=Role.MEMBER, household=announced.household)
    address = link(announced, member)
    assert Client().get(address).status_code == 200
    if change == "viewer":
        member.memberships.update(role=Role.VIEWER)
    elif change == "left":
        member.memberships.all().delete()
    elif change == "closed":
        type(member).objects.filter(pk=member.pk).update(is_active=False)
    else:
        type(member).objects.filter(pk=member.pk).update(access_epoch=1)
    for answer in (Client().get(address), Client().post(address, {"version": "5.3.3"})):
        assert answer.status_code == 410
    assert not Dismissal.objects.exists()


def pushed(home: PolicyHome, user: Any) -> tuple[PushDevice, str]:
    """Return a device of this member, and the link in the push message to it."""
    given = read_subscription(*Browser().fields("https://push.example/x").values())
    device = push_devices.add(user, given, name="X", browser="", actor=person(user))
    return device, path_of(Notice.objects.get(), device.channels.get())


def remove_device(home: PolicyHome, device: PushDevice) -> None:
    push_devices.remove(device, actor=person(device.user))


def hand_device_on(home: PolicyHome, device: PushDevice) -> None:
    """Let another member of the household turn push messages on in this browser."""
    pushed(home, make_user(role=Role.MEMBER, household=home.household))


def end_channel(home: PolicyHome, device: PushDevice) -> None:
    device.channels.all().delete()


@pytest.mark.parametrize("event", [remove_device, hand_device_on, end_channel])
def test_the_link_in_a_push_message_ends_with_its_device(
    announced: PolicyHome, event: Callable[[PolicyHome, PushDevice], None]
) -> None:
    device, address = pushed(announced, announced.owner)
    assert Client().get(address).status_code == 200
    event(announced, device)
    for answer in (Client().get(address), Client().post(address, {"version": "5.3.3"})):
        assert answer.status_code == 410
    assert not Dismissal.objects.exists()
    assert Client().get(link(announced)).status_code == 200, "the mailed one goes on"


def test_the_link_of_a_service_ends_with_it(announced: PolicyHome) -> None:
    address = path_of(Notice.objects.get(), announced.channel)
    assert Client().get(address).status_code == 200
    announced.channel.delete()
    assert Client().get(address).status_code == 410


@pytest.mark.parametrize("token", ["", "x", "a" * 300])
def test_a_link_of_our_own_making_only(token: str) -> None:
    assert open_link(token) is None


def test_each_recipient_gets_a_link_of_their_own(announced: PolicyHome) -> None:
    notice = Notice.objects.get()
    member = make_user(role=Role.MEMBER, household=announced.household)
    viewer = make_user(role=Role.VIEWER, household=announced.household)
    for user, is_link in ((member, True), (viewer, False)):
        channel = Channel.objects.create(household=announced.household, user=user)
        found = path_of(notice, channel)
        if not is_link:
            assert found == "/planned/"
            continue
        opened = open_link(found.split("/")[2])
        assert opened is not None
        assert (opened.member, opened.versions, opened.is_own) == (user, ["5.3.3"], True)
    opened = open_link(path_of(notice, announced.channel).split("/")[2])
    assert opened is not None
    assert opened.name == f"Someone with a link of {announced.owner.email}"


def test_the_message_that_is_sent_carries_the_link(home: PolicyHome, hook: HostileServer) -> None:
    set_provider_url(home.channel, service_url(hook))
    home.channel.save()
    home.rule()
    evening(EVENING)
    send_due(EVENING, words=Words(path_of=path_of))
    [asked] = hook.seen("POST /notify")
    found = re.search(r"https://hubs\.example\.org(/not-this-one/[\w-]+/)", asked.json["message"])
    assert found, asked.json
    assert Client().get(found.group(1)).status_code == 200


def test_the_page_says_why_nothing_starts_sooner(home: PolicyHome) -> None:
    for person_ in (home.owner, make_user(role=Role.VIEWER, household=home.household)):
        text = text_of(browser(person_).get(path(home)))
        assert "Not sooner: what installs by itself is announced at 18:00 on the day before" in text
        assert "at least 5 hours ahead" in text
