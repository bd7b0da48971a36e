"""What a command says about hubs and installs."""

import json
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from devices.cli.console import as_json
from devices.models import InstallOutcome, State, UpdatePolicy
from devices.presentation.serializers import InstallData, values_of
from tests.support.factories import make_account, make_household, make_job, make_node, make_owner


@pytest.mark.django_db
def test_a_verdict_carries_its_three_witnesses() -> None:
    now = datetime(2025, 7, 1, tzinfo=UTC)
    job = make_job(
        state=State.VERIFIED,
        now=now,
        outcome=InstallOutcome.VERIFIED,
        cloud_word="success",
        cloud_meaning="success",
        cloud_said_at=now,
        version_seen="5.3.3",
        version_agreed_at=now,
        is_online=True,
        online_seen_at=now,
    )
    values = json.loads(as_json(values_of(InstallData.of(job))))
    assert values["is_verified"]
    assert values["support_code"].startswith("TW-")
    assert {name: one["agrees"] for name, one in values["witnesses"].items()} == {
        "cloud": True,
        "version": True,
        "online": True,
    }
    assert all(one["at"].endswith("+00:00") for one in values["witnesses"].values())


@pytest.mark.django_db
def test_hubs_are_listed_by_the_clock_of_their_household(
    capsys: pytest.CaptureFixture[str],
) -> None:
    household = make_household(time_zone="Pacific/Kiritimati")  # 14 hours ahead
    make_owner(household)
    at = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    make_node(make_account(household), is_online=False, online_changed_at=at)
    call_command("firmware", "list")
    assert "2 Jun" in capsys.readouterr().out


@pytest.mark.django_db
def test_the_update_policy_is_listed_with_what_it_would_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    household = make_household("Garden house")
    owner = make_owner(household)
    make_node(make_account(household), name="Porch")
    call_command("firmware", "policy")
    assert "The update policy asks you for this hub." in capsys.readouterr().out
    UpdatePolicy.objects.create(household=household, mode="install", set_by=owner)
    call_command("firmware", "policy", "--json")
    [line] = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["mode"], line["window_start"]) == (
        "update_policy",
        "install",
        "22:00",
    )
    assert line["hubs"][0]["reason_codes"] == ["no_offer"]
