"""The cloud client and the simulated cloud: two readings of one API, written apart, agree."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import (
    AnswerLost,
    AnswerUnreadable,
    Busy,
    CloudError,
    HubOffline,
    NoOtaStatus,
    NotYourHub,
    OfferGone,
    ServerTrouble,
    SignInAgain,
    TryLater,
)
from devices.rainmaker.schemas import OtaStatus, OtaWord, Repellent
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.processes
OFFER = {
    "fw_version": "9.9.9",
    "description": "Fixes",
    "file_size": 1_600_000,
    "image_access": True,
}


@pytest.fixture(scope="module", params=["real", "documented"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cloud(dialect: str) -> Iterator[SimCloud]:
    with SimCloud(hubs=6, offers=0, dialect=dialect, state=False) as cloud:
        yield cloud


@pytest.fixture
def client(cloud: SimCloud) -> Iterator[RainmakerClient]:
    cloud.clear_faults()
    with RainmakerClient(cloud.url, read_timeout_s=10) as client:
        client.sign_in(cloud.email, cloud.password)
        yield client


@pytest.fixture
def hub(cloud: SimCloud) -> str:
    """A hub that is online, obeys, and is offered OFFER."""
    hub = cloud.node_ids()[0]
    cloud.set_online(hub, True)
    cloud.set_scenario(hub, "happy")
    return hub


def job_offered(cloud: SimCloud, client: RainmakerClient, hub: str) -> str:
    cloud.swap_offer(hub, **OFFER)
    return client.check_firmware_update(hub).ota_job_id


def test_the_whole_way_from_the_check_to_the_new_version(
    cloud: SimCloud, client: RainmakerClient, hub: str, dialect: str
) -> None:
    assert not client.check_firmware_update(hub).is_available
    cloud.publish_offer(hub, **OFFER)
    offer = client.check_firmware_update(hub)
    assert offer.is_available
    assert (offer.fw_version, offer.description, offer.size_bytes) == ("9.9.9", "Fixes", 1_600_000)
    assert offer.url.startswith(cloud.url)
    assert offer.md5

    def status() -> OtaStatus:
        return client.get_ota_status(node_id=hub, ota_job_id=offer.ota_job_id)

    if dialect == "real":
        assert status().state is OtaWord.TRIGGERED
    else:
        with pytest.raises(NoOtaStatus):
            status()
    assert client.push_firmware_update(node_id=hub, ota_job_id=offer.ota_job_id)
    received = [status()]
    for _ in range(120):
        if received[-1].state is OtaWord.SUCCESS:
            break
        cloud.advance(5)
        received.append(status())
    words = [one.state for one in received]
    assert words[0] is OtaWord.STARTED
    assert OtaWord.IN_PROGRESS in words
    assert words[-1] is OtaWord.SUCCESS
    times = [one.at for one in received if one.at is not None]
    assert len(times) == len(received)
    assert times == sorted(times)
    assert abs((times[0] - datetime.now(UTC)).total_seconds()) < 3600

    cloud.advance(60)
    assert client.get_node_config(hub).fw_version == "9.9.9"
    assert client.get_node_status(hub).is_connected is True
    assert not client.check_firmware_update(hub).is_available
    assert cloud.pushes(hub) == {"accepted": 1}


def test_every_hub_is_read_with_what_is_known_of_it(cloud, client):
    cloud.set_params(1, **{"System Status": 3, "Refill Life": 40, "Error": 0x01000048 | 4})
    truth = {one["node_id"]: one for one in cloud.hubs()}
    nodes = client.nodes().nodes
    assert {node.node_id for node in nodes} == set(truth)
    for node in nodes:
        true = truth[node.node_id]
        assert node.config is not None
        assert node.facts is not None
        assert node.config.fw_version == true["fw_version"]
        assert node.facts.name == true["name"]
        assert node.facts.serial == true["serial"]
        assert node.connectivity.is_connected == true["online"]
        assert node.role == "primary"
        assert client.get_node_config(node.node_id) == node.config
        assert client.get_node_status(node.node_id).is_connected == true["online"]
    facts = next(one.facts for one in nodes if one.node_id == cloud.node_ids()[1])
    assert facts is not None
    assert facts.repellent is Repellent.PROTECTED
    assert facts.error_bits == 4


def test_pages_are_put_together(cloud, client):
    first = client.nodes(num_records=4)
    second = client.nodes(start_id=first.next_id, num_records=4)
    ids = [node.node_id for node in (*first.nodes, *second.nodes)]
    assert (len(first.nodes), len(second.nodes), second.next_id) == (4, 2, "")
    assert sorted(ids) == sorted(cloud.node_ids())
    assert first.skipped == second.skipped == 0


def test_who_is_signed_in(cloud, client):
    user = client.user()
    assert user.user_name == cloud.email
    assert client.tokens is not None
    assert client.tokens.user_id == user.user_id
    assert client.tokens.email == cloud.email
    assert client.tokens.access_expires_at is not None


def test_a_wrong_password_is_the_persons_to_mend(cloud):
    with RainmakerClient(cloud.url) as client, pytest.raises(SignInAgain) as caught:
        client.sign_in(cloud.email, "wrong")
    assert caught.value.code == 101009


def test_an_expired_session_is_extended_unnoticed(cloud, client):
    before = client.tokens
    cloud.advance(4000)
    assert client.user().user_id
    assert client.tokens is not None
    assert before is not None
    assert client.tokens.access_token != before.access_token
    assert client.tokens.refresh_token == before.refresh_token


def test_a_revoked_session_needs_a_person(cloud, client):
    cloud.revoke_tokens()
    with pytest.raises(SignInAgain):
        client.user()
    with pytest.raises(SignInAgain):
        client.nodes()


def test_after_signing_out_the_tokens_are_worth_nothing(cloud, client):
    tokens = client.tokens
    client.sign_out()
    with RainmakerClient(cloud.url, tokens=tokens) as thief, pytest.raises(SignInAgain):
        thief.extend_session()


def test_an_offline_hub_is_not_sent_an_update(cloud, client, hub):
    job = job_offered(cloud, client, hub)
    cloud.set_online(hub, False)
    with pytest.raises(HubOffline) as caught:
        client.push_firmware_update(node_id=hub, ota_job_id=job)
    assert caught.value.nothing_happened


def test_a_withdrawn_offer_cannot_be_pushed(cloud, client, hub):
    job = job_offered(cloud, client, hub)
    cloud.withdraw_offer(hub)
    with pytest.raises(OfferGone) as caught:
        client.push_firmware_update(node_id=hub, ota_job_id=job)
    assert caught.value.nothing_happened


def test_an_unknown_job_and_a_strangers_hub(cloud, client, hub):
    with pytest.raises(NoOtaStatus):
        client.get_ota_status(node_id=hub, ota_job_id="NoSuchJob")
    for call in (
        client.check_firmware_update,
        client.get_node_config,
        client.get_node_status,
        lambda node: client.push_firmware_update(node_id=node, ota_job_id="J"),
        lambda node: client.get_ota_status(node_id=node, ota_job_id="J"),
    ):
        with pytest.raises(NotYourHub):
            call("StrangersHub")


@pytest.mark.parametrize(
    ("fault", "kind", "nothing_happened", "taken"),
    [
        ({"kind": "cut_before"}, AnswerLost, False, 0),
        ({"kind": "cut_after"}, AnswerLost, False, 1),
        ({"kind": "slow", "delay_s": 3}, AnswerLost, False, 1),
        ({"kind": "500"}, ServerTrouble, False, 0),
        ({"kind": "423"}, Busy, True, 0),
        ({"kind": "429", "retry_after_s": 7}, Busy, True, 0),
        ({"kind": "garbage", "body": "not_json"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "truncated_json"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "html"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "huge"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "empty"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "wrong_types"}, AnswerUnreadable, False, 1),
        ({"kind": "garbage", "body": "null"}, AnswerUnreadable, False, 1),
    ],
)
def test_a_push_in_trouble_is_sent_once_and_never_called_undone_when_it_was_done(
    cloud, client, hub, fault, kind, nothing_happened, taken
):
    cloud.swap_offer(hub, **OFFER)
    job = client.check_firmware_update(hub).ota_job_id
    cloud.reset_counters()
    cloud.fault(**fault, method="POST", path="*/ota_update", count=1)
    with (
        RainmakerClient(cloud.url, tokens=client.tokens, read_timeout_s=0.5) as hasty,
        pytest.raises(kind) as caught,
    ):
        hasty.push_firmware_update(node_id=hub, ota_job_id=job)
    assert isinstance(caught.value, TryLater)
    assert caught.value.nothing_happened is nothing_happened
    # a hub that is still at work from the case before ignores it, but it was sent
    pushes = cloud.pushes(hub, job)
    assert pushes.get("accepted", 0) + pushes.get("ignored_busy", 0) == taken
    asked = cloud.counters()["requests"]
    assert sum(n for route, n in asked.items() if "POST" in route and "ota_update" in route) == 1


def test_a_revoked_token_on_a_push_sends_nothing_twice(cloud, client, hub):
    job = job_offered(cloud, client, hub)
    cloud.reset_counters()
    cloud.fault("token_revoked", method="POST", path="*/ota_update", count=1)
    with pytest.raises(CloudError) as caught:
        client.push_firmware_update(node_id=hub, ota_job_id=job)
    assert isinstance(caught.value, (SignInAgain, TryLater))
    assert caught.value.nothing_happened
    assert "accepted" not in cloud.pushes(hub, job)


@pytest.mark.parametrize("body", ["not_json", "truncated_json", "html", "empty", "null", "list"])
def test_garbage_is_never_read_as_an_answer(cloud, client, hub, body):
    cloud.fault("garbage", body=body)
    for call in (
        client.user,
        client.nodes,
        lambda: client.check_firmware_update(hub),
        lambda: client.get_node_config(hub),
        lambda: client.get_node_status(hub),
    ):
        with pytest.raises(AnswerUnreadable):
            call()


def test_a_dripping_answer_ends_in_time(cloud, client):
    cloud.fault("slow_body", drip_s=5, count=1)
    with (
        RainmakerClient(cloud.url, tokens=client.tokens, total_timeout_s=0.5) as hasty,
        pytest.raises(AnswerLost),
    ):
        hasty.nodes()
