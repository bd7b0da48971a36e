"""The outcome of an install has one name on pages, in the trail, in mails, at Home Assistant."""

import json
from html import escape
from io import StringIO

import pytest
from django.utils import timezone

from devices.cli.console import Console
from devices.cli.follow import Following
from devices.homeassistant.discovery import Home, Hub, messages
from devices.installs.lifecycle import move_to
from devices.models import (
    LIVE,
    TRANSITIONS,
    Actor,
    AuditEvent,
    InstallOutcome,
    Notice,
    OtaJob,
    State,
    Topic,
)
from devices.models.install import OUTCOMES
from devices.notifications.messages import sentence
from devices.presentation.badges import of_job
from devices.presentation.serializers import HubData
from tests.support.client import Client
from tests.support.factories import make_job, make_node, make_owner

pytestmark = pytest.mark.django_db
ENDS = [(state, outcome) for state, outcomes in OUTCOMES.items() for outcome in sorted(outcomes)]


@pytest.mark.parametrize(("state", "outcome"), ENDS)
def test_an_outcome_has_one_name_everywhere(
    client: Client, state: State, outcome: InstallOutcome
) -> None:
    node = make_node(name="Fire pit")
    before = next(old for old in sorted(LIVE) if state in TRANSITIONS[State(old)])
    job = make_job(node, state=before, version_seen="5.2.0")
    move_to(job, state, actor=Actor.worker(), note="It ended.", outcome=outcome)
    job = OtaJob.objects.for_list().get(pk=job.pk)
    name = job.outcome_title
    assert name
    assert "{" not in name

    assert of_job(job).words == name
    client.force_login(make_owner(node.account.household))
    for address in ("/history/", f"/hubs/{node.pk}/", f"/installs/{job.pk}/"):
        page = client.get(address, headers={"accept-language": "en"}).content.decode()
        assert escape(name).lower() in page.lower(), address
    assert AuditEvent.objects.get(job_id=job.pk).sentence == f"It ended. Outcome: {name}."
    notice = Notice.objects.create(
        household=node.account.household,
        topic=Topic.FAILED,
        at=timezone.now(),
        job=job,
        facts={"hub": "Fire pit"},
    )
    assert f": {name}. " in sentence(notice)
    shown = Hub(HubData.of(type(node).objects.for_list().get(pk=node.pk)), "Fire pit")
    sent = messages(Home("key", "topic", "homeassistant"), shown)
    [verdict] = [json.loads(text) for topic, text in sent.items() if topic.endswith("/verdict")]
    assert verdict["about"]["badge"] == name
    assert verdict["state"] == state.label, "a choice of few words, so that automations can use it"
    output = StringIO()
    Following(job, Console(output, StringIO(), is_json=False))._say_verdict()
    assert f"{name}.\n" in output.getvalue()
