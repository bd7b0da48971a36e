"""One answer for several proposals to a household: on one page, each hub with a tick."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.installs.confirmation import snapshot_offer
from devices.models import (
    AuditEvent,
    Batch,
    BatchState,
    Delivery,
    Household,
    Membership,
    Node,
    OtaJob,
    Plan,
    Proposal,
    ProposalState,
    Role,
    State,
    When,
)
from devices.planning import proposals
from devices.planning.proposals import ToPropose
from devices.tasks import send_notices
from tests.support.client import Client
from tests.support.factories import (
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
    sign_in,
)
from tests.support.proposals import Home, state_of, turn

pytestmark = pytest.mark.django_db


class Several(Home):
    """A household to which support proposed an update for each of its three hubs at once."""

    def __init__(self, settings: Any, **fields: Any) -> None:
        settings.HAS_MAIL_SERVER = True
        super().__init__(**fields)
        for name in ("Gazebo", "Hot tub"):
            make_offer(make_node(self.node.account, name=name))
        self.made = self.propose_all()

    def propose_all(self) -> list[Proposal]:
        nodes = Node.objects.with_offers().filter(account__household=self.household)
        offers = [(one, snapshot_offer(one, one.offer)) for one in nodes if one.offer is not None]
        wanted = ToPropose(
            self.household,
            offers,
            proposals.recipients_of(self.household),
            person(self.support, "support"),
        )
        return proposals.propose_all([wanted], user=self.support, words="It mends the lamp.")

    @property
    def page(self) -> str:
        return f"/households/{self.household.pk}/proposals/"

    def link(self) -> str:
        """Let the worker send the letters; return the path of the link in the last one."""
        send_notices()
        sent = [one for one in mail.outbox if one.to == [self.owner.email]]
        found = re.search(r"(/decide/[\w-]+/)", str(sent[-1].body))
        assert found is not None
        return found[1]

    def states(self) -> list[str]:
        return [state_of(one) for one in self.made]


@pytest.fixture
def home(settings: Any) -> Several:
    return Several(settings)


def ticks(*chosen: Proposal, **fields: str) -> dict[str, Any]:
    return {"tick": [one.pk for one in chosen], **fields}


def test_the_link_lists_each_hub_with_a_tick_and_answers_all(home: Several) -> None:
    path = home.link()
    page = Client().get(path).content.decode()
    assert page.count('name="tick"') == page.count("checked><span") == 3
    for one in home.made:
        assert one.hub_name in page
    assert home.states() == [ProposalState.OPEN] * 3, "looking decides nothing"
    answer = Client().post(path, ticks(*home.made, decision="yes", when="tonight"))
    assert answer.status_code == 200
    assert home.states() == [ProposalState.TONIGHT] * 3
    assert {one.when for one in Plan.objects.all()} == {When.TONIGHT}
    assert {one.decided_by_name for one in home.made} == {
        f"{home.owner.email} (by the mailed link)"
    }
    again = Client().post(path, ticks(*home.made, decision="no"))
    assert again.status_code == 409
    assert home.states() == [ProposalState.TONIGHT] * 3, "each can be answered once"


def test_what_is_unticked_stays_open_and_can_be_answered_later(home: Several) -> None:
    path = home.link()
    first, second, third = home.made
    Client().post(path, ticks(first, third, decision="no"))
    assert home.states() == [ProposalState.DECLINED, ProposalState.OPEN, ProposalState.DECLINED]
    page = Client().get(path).content.decode()
    assert page.count('name="tick"') == 1
    Client().post(path, ticks(second, decision="no"))
    assert home.states() == [ProposalState.DECLINED] * 3


def test_now_for_several_is_a_queue_that_goes_one_by_one(home: Several) -> None:
    client = sign_in(Client(), home.owner)
    answer = client.post(home.page, ticks(*home.made, decision="yes", when="now"))
    queue = Batch.objects.get()
    assert answer.headers["Location"] == f"/queues/{queue.pk}/"
    assert (queue.at_once, queue.stops_on_failure, queue.items.count()) == (1, True, 3)
    [asked] = AuditEvent.objects.filter(action="queue.requested")
    assert len(asked.detail["hubs"]) == 3
    turn(timezone.now())
    job = OtaJob.objects.get()
    assert job.requested_via == "proposal"
    turn(timezone.now())
    assert OtaJob.objects.count() == 1, "the next one waits for its turn"
    done = Proposal.objects.get(job=job)
    assert done.state == ProposalState.ACCEPTED
    OtaJob.objects.update(state=State.FAILED, ended_at=timezone.now(), next_poll_at=None)
    turn(timezone.now())
    queue.refresh_from_db()
    assert queue.state == BatchState.STOPPED
    assert OtaJob.objects.count() == 1


def test_now_for_one_is_its_install(home: Several) -> None:
    client = sign_in(Client(), home.owner)
    client.post(home.page, ticks(home.made[0], decision="yes", when="now"))
    assert OtaJob.objects.get().node == home.made[0].node
    assert not Batch.objects.exists()


def test_a_hub_whose_answer_cannot_be_carried_out_holds_up_no_other(home: Several) -> None:
    proposals.withdraw(home.made[1], actor=person(home.support, "support"))
    path = home.link()
    answer = Client().post(path, ticks(*home.made, decision="no"))
    assert answer.status_code == 200
    states = [ProposalState.DECLINED, ProposalState.WITHDRAWN, ProposalState.DECLINED]
    assert home.states() == states


def test_a_refused_answer_is_named_with_its_hub(home: Several) -> None:
    Membership.objects.filter(user=home.owner).update(role=Role.MEMBER)
    answers = proposals.decide_all(
        home.made,
        proposals.Decision.LATER,  # without a time
        user=home.owner,
        actor=person(home.owner, Role.MEMBER),
    )
    assert set(answers.problems) == {one.pk for one in home.made}
    assert not answers.given
    assert AuditEvent.objects.filter(action="proposal.answer_refused").count() == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": "yes", "when": "now"},  # nothing ticked
        {"decision": "maybe", "tick": "all"},
        {"decision": "yes", "when": "at", "at": "", "tick": "all"},
        {"decision": "yes", "when": "\x00", "tick": "all"},
    ],
)
def test_what_is_no_answer_decides_nothing(home: Several, fields: dict[str, str]) -> None:
    chosen = home.made if fields.pop("tick", "") else []
    for client, path in ((Client(), home.link()), (sign_in(Client(), home.owner), home.page)):
        assert client.post(path, ticks(*chosen, **fields)).status_code == 409
    assert home.states() == [ProposalState.OPEN] * 3


def test_only_those_who_may_answer_see_ticks(home: Several) -> None:
    expected = {Role.MEMBER: (3, 302), Role.VIEWER: (0, 403)}
    for role, (n, status) in expected.items():
        client = sign_in(Client(), make_user(role=role, household=home.household))
        assert client.get(home.page).content.decode().count('name="tick"') == n
        assert client.post(home.page, ticks(home.made[0], decision="no")).status_code == status
    support = sign_in(Client(), home.support)
    page = support.get(home.page).content.decode()
    assert "Staff cannot answer on behalf of a household." in page
    assert 'name="tick"' not in page
    Household.objects.update(support_may_install=True)
    assert support.post(home.page, ticks(home.made[1], decision="yes")).status_code == 403
    by_link = support.post(home.link(), ticks(home.made[1], decision="no"))
    assert by_link.status_code == 409
    assert state_of(home.made[1]) == ProposalState.OPEN
    stranger = sign_in(Client(), make_owner(make_household()))
    assert stranger.get(home.page).status_code == 404
    assert stranger.post(home.page, ticks(home.made[1], decision="no")).status_code == 404


def test_one_household_cannot_answer_for_another(home: Several, settings: Any) -> None:
    other = Several(settings)
    answer = Client().post(home.link(), ticks(*other.made, decision="no"))
    assert answer.status_code == 409
    assert other.states() == [ProposalState.OPEN] * 3


def test_a_new_link_to_one_hub_takes_it_out_of_the_common_one(home: Several) -> None:
    path = home.link()
    proposals.renew_link(home.made[0], maker=home.owner, actor=person(home.owner))
    assert Client().get(path).content.decode().count('name="tick"') == 2
    Client().post(path, ticks(*home.made, decision="no"))
    assert home.states()[0] == ProposalState.OPEN


def test_the_link_ends_with_the_role_of_its_person(home: Several) -> None:
    path = home.link()
    Membership.objects.filter(user=home.owner).update(role=Role.VIEWER)
    assert Client().get(path).status_code == 410
    assert Client().post(path, ticks(*home.made, decision="no")).status_code == 410


def test_letters_are_written_in_the_language_of_their_reader(home: Several) -> None:
    home.owner.language = "de"
    home.owner.save()
    send_notices()
    [sent] = mail.outbox
    assert sent.subject == "Neue Firmware für 3 Hubs: jetzt, heute Nacht oder nicht?"
    assert "Das Öffnen allein entscheidet nichts." in sent.body
    assert "Gazebo: 5.3.2 → 5.3.3" in sent.body


def test_a_letter_about_nothing_is_not_sent(home: Several) -> None:
    for one in home.made:
        proposals.withdraw(one, actor=person(home.support, "support"))
    send_notices()
    assert not mail.outbox
    assert not Delivery.letters().exists()
    assert Delivery.objects.get(channel=None).dropped_at is not None


def test_a_letter_to_a_person_who_left_is_not_sent(home: Several) -> None:
    Membership.objects.filter(user=home.owner).delete()
    send_notices()
    assert not mail.outbox
    assert not Delivery.letters().exists()


def test_a_letter_that_no_server_takes_is_tried_again(
    home: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no server")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        send_notices()
    letter = Delivery.letters().get()
    assert letter.tries == 1
    assert letter.due_at > timezone.now()
    page = sign_in(Client(), home.support).get(f"/proposals/{home.made[0].pk}/").content.decode()
    assert "No mail server took the e-mail" in page
    Delivery.letters().update(due_at=timezone.now() - timedelta(seconds=1))
    send_notices()
    assert len(mail.outbox) == 1
    page = sign_in(Client(), home.support).get(f"/proposals/{home.made[0].pk}/").content.decode()
    assert "The link was sent by e-mail to" in page


def test_the_page_costs_the_same_however_many_hubs(home: Several) -> None:
    client = sign_in(Client(), home.owner)

    def queries() -> int:
        client.get(home.page)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(home.page).status_code == 200
        return len(asked)

    few = queries()
    for name in ("Porch", "Shed", "Dock", "Sauna"):
        make_offer(make_node(home.node.account, name=name))
    home.propose_all()
    assert client.get(home.page).content.decode().count('name="tick"') == 7
    assert queries() == few


def test_the_hubs_page_leads_to_one_answer(home: Several) -> None:
    page = sign_in(Client(), home.owner).get("/").content.decode()
    assert f'href="{home.page}"' in page
    alone = sign_in(Client(), home.owner).get(f"/proposals/{home.made[0].pk}/").content.decode()
    assert f'href="{home.page}"' in alone
