"""What becomes of an install whose push the cloud refuses: decided by its words, sent once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.explanations.explain import explain_job
from devices.installs.push import PrePushCheck, claim_for_push
from devices.models import AuditEvent, CloudAccount, OtaJob, State
from devices.rainmaker.parsers import read_node_config
from devices.rainmaker.schemas import Connectivity, FirmwareOffer
from devices.worker import cloud_tasks
from devices.worker.runner import Runner
from tests.support.client import Client
from tests.support.engine import confirm
from tests.support.factories import make_account, make_household, make_node, make_offer, make_owner
from tests.support.hostile_server import Behaviour, HostileServer, failure, reply
from tests.support.rainmaker import CHECK, LOGIN, PUSH, STATUS

pytestmark = pytest.mark.django_db
CONFIG = "GET /v1/user/nodes/config"
ONLINE = "GET /v1/user/nodes/status"
OFFLINE = {"status": "failure", "description": "Node is offline", "error_code": 102001}


@pytest.fixture
def server(settings: Any) -> Iterator[HostileServer]:
    settings.LOOPBACK_CLOUDS = True
    with HostileServer() as server:
        yield server


def pushed(server: HostileServer, *behaviours: Behaviour, role: str = "primary") -> OtaJob:
    """Confirm an install against a cloud that answers its push so, and let it come to a rest."""
    owner = make_owner(make_household())
    household = owner.memberships.get().household
    node = make_node(make_account(household, base_url=server.url), role=role)
    offer = make_offer(node)
    answer = {
        "ota_available": True,
        "ota_job_id": offer.ota_job_id,
        "fw_version": offer.fw_version,
        "description": offer.description,
        "file_size": offer.size_bytes,
        "file_md5": offer.md5,
    }
    server.on(CHECK, reply(json={"status": "success"} | answer))
    server.on(CONFIG, reply(json={"info": {"fw_version": node.fw_version}}))
    server.on(ONLINE, reply(json={"connectivity": {"connected": True, "timestamp": 1}}))
    server.on(STATUS, failure(404, 105024))
    server.on(PUSH, *behaviours)
    job = confirm(owner, node)

    def is_told() -> bool:
        job.refresh_from_db()
        is_put_off = job.state == State.REQUESTED and job.pushes > 0
        return not job.is_live or job.push_unknown or is_put_off

    Runner(
        "installs",
        cloud_tasks.find_installs,
        lambda now: is_told(),
        advance=cloud_tasks.advance_installs,
    ).run()
    return job


@pytest.mark.parametrize("status", [200, 307, 400, 500])
def test_an_offline_hub_is_named_with_any_status_of_the_refusal(
    server: HostileServer, status: int
) -> None:
    headers = {"Location": "/elsewhere"} if status == 307 else {}
    job = pushed(server, reply(status, json=OFFLINE, headers=headers))
    assert (job.state, job.outcome) == (State.REFUSED, "hub_offline")
    assert "offline" in explain_job(job).headline
    assert len(server.seen(PUSH)) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(307, body="", headers={"Location": "/v1/user/nodes/ota_update"}),
        reply(403, body="<html>Request blocked</html>"),
        reply(200, body="<html>Sign in to this network</html>"),
    ],
)
def test_what_is_not_the_clouds_word_is_not_taken_for_a_refusal(
    server: HostileServer, behaviour: Behaviour
) -> None:
    job = pushed(server, behaviour)
    assert job.state == State.PUSHING
    assert job.push_unknown
    assert len(server.seen(PUSH)) == 1


@pytest.mark.parametrize(
    ("role", "answer"),
    [
        ("secondary", reply(403, json={"message": "Forbidden"})),
        ("secondary", failure(403, 100999, "Not allowed for secondary users")),
        ("secondary", failure(400, 100999, "Not allowed for secondary users")),
        ("primary", reply(403, json={"message": "Forbidden"})),
    ],
)
def test_a_user_without_the_right_reads_why_and_who_can_help(
    server: HostileServer, role: str, answer: Behaviour
) -> None:
    job = pushed(server, answer, role=role)
    assert (job.state, job.outcome) == (State.REFUSED, "refused_by_cloud")
    explained = explain_job(job)
    assert "only shared" in explained.what
    assert "Ask the person who set up the hub" in explained.todo
    assert "later" not in explained.todo
    client = Client()
    client.force_login(job.household.memberships.get().user)
    assert (
        "Ask the person who set up the hub" in client.get(f"/installs/{job.pk}/").content.decode()
    )


def test_an_unknown_refusal_of_ones_own_hub_is_quoted(server: HostileServer) -> None:
    job = pushed(server, failure(400, 100999, "Not today"))
    assert "Not today" in explain_job(job).what
    assert "only shared" not in explain_job(job).what


def test_a_push_refused_for_its_session_is_not_repeated_at_once(server: HostileServer) -> None:
    server.on(LOGIN, failure(400, 555555))
    job = pushed(server, reply(401, json={"message": "Unauthorized"}))
    assert (job.state, job.pushes) == (State.REQUESTED, 1)
    assert job.next_poll_at is not None
    assert job.next_poll_at - timezone.now() > timedelta(seconds=5)
    assert len(server.seen(PUSH)) == 1
    assert len(server.seen(LOGIN)) == 1


@pytest.mark.parametrize(
    "refusal", [failure(423, 105078), reply(429, json={"message": "Too Many Requests"})]
)
@pytest.mark.parametrize("evidence", ["status", "version"])
def test_a_push_that_was_refused_and_passed_on_is_not_sent_again(
    server: HostileServer, refusal: Behaviour, evidence: str
) -> None:
    """A gateway may refuse what it has passed on: the hub is at work, so nothing is sent again."""
    job = pushed(server, refusal)
    assert (job.state, job.pushes) == (State.REQUESTED, 1)
    if evidence == "status":
        report = {
            "status": "in-progress",
            "additional_info": "Downloading",
            "timestamp": 1780000000,
        }
        server.on(STATUS, reply(json={"node_id": job.cloud_node_id} | report))
    else:
        server.on(CONFIG, reply(json={"info": {"fw_version": job.to_version}}))
    CloudAccount.objects.update(resume_at=None)
    OtaJob.objects.update(next_poll_at=timezone.now())

    def is_followed() -> bool:
        job.refresh_from_db()
        return job.state != State.REQUESTED

    Runner(
        "installs",
        cloud_tasks.find_installs,
        lambda now: is_followed(),
        advance=cloud_tasks.advance_installs,
    ).run()
    assert job.state in {State.RUNNING, State.VERIFYING}
    assert (job.pushes, job.pushed_at is not None) == (1, True)
    assert len(server.seen(PUSH)) == 1
    sentence = AuditEvent.objects.get(action="install.running").sentence
    assert "not sent again" in sentence


def test_what_the_cloud_offered_instead_is_shown(server: HostileServer) -> None:
    owner = make_owner(make_household())
    node = make_node(make_account(owner.memberships.get().household, base_url=server.url))
    offer = make_offer(node)
    job = confirm(owner, node)
    found = FirmwareOffer(
        is_available=True,
        ota_job_id=offer.ota_job_id,
        fw_version=offer.fw_version,
        size_bytes=999,
        md5="b" * 32,
    )
    config = read_node_config({"node_id": node.node_id, "info": {"fw_version": node.fw_version}})
    check = PrePushCheck(found, config, Connectivity(True, None, ""), None)
    assert not claim_for_push(job, check, timezone.now())
    assert (job.state, job.outcome) == (State.REFUSED, "offer_swapped")
    client = Client()
    client.force_login(owner)
    page = client.get(f"/installs/{job.pk}/").content.decode()
    for value in (f"<del>{offer.size_bytes}</del>", "<ins>999</ins>", f"<ins>{'b' * 32}</ins>"):
        assert value in page
