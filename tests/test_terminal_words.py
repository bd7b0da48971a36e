"""How the terminal says things and finds what is meant, without any process."""

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from devices.models import VERDICTS, Role, State
from devices.terminal import choose
from devices.terminal.console import Console, as_json, cut, plain, width
from devices.terminal.ends import EXIT_TABLE, VERDICT_EXITS, Ended, Exit
from devices.terminal.facts import job_values
from devices.terminal.people import acting, require
from tests.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_owner,
    make_user,
)


def test_names_from_the_cloud_cannot_steer_a_terminal() -> None:
    hostile = "Porch\x1b[2J\x9b31m\r\nroot#\u202e\u2028\ud800\x07"
    clean = plain(hostile)
    assert clean == "Porch [2J 31m  root#"
    assert clean.isprintable()


def test_wide_letters_are_counted_and_cut_as_wide() -> None:
    assert width("abc") == 3
    assert width("蚊蚊") == 4
    assert width("e\u0301") == 1
    assert cut("蚊蚊蚊蚊", 5) == "蚊蚊…"
    assert cut("short", 5) == "short"
    assert cut("long", 0) == ""


def test_json_is_one_ascii_line_with_times_in_utc() -> None:
    at = datetime(2025, 7, 1, 14, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    line = as_json({"at": at, "took": timedelta(minutes=2), "hub": "Pörch\x1b\n"})
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line) == {
        "at": "2025-07-01T12:00:00.000+00:00",
        "took": 120.0,
        "hub": "Pörch\x1b\n",
    }


def test_a_program_reads_objects_and_nothing_else() -> None:
    out, err = StringIO(), StringIO()
    console = Console(out, err, is_json=True)
    console.say("for people")
    console.live("for people who watch")
    console.table([("A", "B"), ("1", "2")])
    console.hint("a hint\nin two lines")
    console.tell("hub", hub="Porch")
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"event": "hub", "hub": "Porch"}
    ]
    assert err.getvalue() == "a hint in two lines\n"


def test_without_a_terminal_nothing_is_written_over() -> None:
    out = StringIO()
    console = Console(out, StringIO(), is_json=False)
    console.live("half")
    console.say("whole")
    assert out.getvalue() == "whole\n"


def test_columns_line_up() -> None:
    out = StringIO()
    Console(out, StringIO(), is_json=False).table([("HUB", "RUNS"), ("蚊", "1"), ("Porch", "2")])
    assert out.getvalue() == "HUB    RUNS\n蚊     1\nPorch  2\n"


def test_a_closed_pipe_silences_the_console() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        console = Console(out, StringIO(), is_json=False)
        console.say("to nobody")
        assert console.is_unheard
        console.say("still to nobody")


def test_every_verdict_has_an_exit_status_of_its_own_in_the_table() -> None:
    assert set(VERDICT_EXITS) == set(VERDICTS)
    numbers = [*VERDICT_EXITS.values(), *(int(end) for end in Exit if end is not Exit.DONE)]
    assert len(set(numbers)) == len(numbers)
    rows = {line.split()[0] for line in EXIT_TABLE.splitlines()[1:]}
    assert rows == {"1", *map(str, numbers)}


@pytest.mark.django_db
def test_a_hub_is_found_by_name_serial_or_node_id() -> None:
    household = make_household()
    owner, account = make_owner(household), make_account(household)
    porch = make_node(account, name="Ärmel Porch", serial="N03HA1", node_id="Node1")
    make_node(account, name="Deck", serial="N03HA2", node_id="Node2")
    for text in ("ärmel porch", "  ÄRMEL PORCH ", "n03ha1", "Node1", f"hub:{porch.pk}"):
        assert choose.hub(owner, text) == porch


@pytest.mark.django_db
def test_a_hub_named_like_the_serial_of_another_is_not_taken_for_it() -> None:
    household = make_household()
    owner, account = make_owner(household), make_account(household)
    real = make_node(account, name="Porch", serial="N03HA1")
    make_node(account, name="N03HA1", serial="N03HA2")
    assert choose.hub(owner, "N03HA1") == real


@pytest.mark.django_db
def test_a_name_that_two_hubs_have_is_answered_with_both() -> None:
    household = make_household("Garden")
    owner, account = make_owner(household), make_account(household)
    twins = [make_node(account, name="Porch\x1b[31m") for _ in range(2)]
    with pytest.raises(Ended) as ended:
        choose.hub(owner, "porch [31m")
    assert ended.value.status == Exit.NOT_UNDERSTOOD
    assert [one["number"] for one in ended.value.facts["candidates"]] == [n.pk for n in twins]
    assert all(node.node_id in ended.value.also for node in twins)
    assert "\x1b" not in ended.value.also


@pytest.mark.django_db
def test_nobody_finds_the_hub_of_a_stranger() -> None:
    node = make_node(name="Porch")
    stranger = make_owner(make_household())
    for text in ("Porch", node.serial, node.node_id, f"hub:{node.pk}"):
        with pytest.raises(Ended) as ended:
            choose.hub(stranger, text)
        assert node.node_id not in str(ended.value) + ended.value.also
    job = make_job(node)
    with pytest.raises(Ended):
        choose.install(stranger, str(job.pk), None)


@pytest.mark.django_db
def test_households_that_share_a_hub_tell_it_apart_by_their_name() -> None:
    first, second = make_household("Garden"), make_household("Cabin")
    owner = make_user(role=Role.OWNER, household=first)
    second.members.add(owner, through_defaults={"role": Role.OWNER})
    nodes = [make_node(make_account(home), node_id="NodeS", name="P") for home in (first, second)]
    with pytest.raises(Ended):
        choose.hub(owner, "NodeS")
    assert choose.hub(owner, "NodeS", choose.household(owner, "cabin")) == nodes[1]


@pytest.mark.django_db
def test_who_acts_is_never_guessed() -> None:
    with pytest.raises(Ended, match="There is no owner yet"):
        acting(None)
    household = make_household()
    owner = make_owner(household)
    assert acting(None) == owner
    make_user(role=Role.VIEWER, household=household)
    assert acting(None) == owner
    assert acting(owner.email.upper()) == owner
    other = make_owner(household)
    with pytest.raises(Ended, match="Several people are owners") as ended:
        acting(None)
    assert ended.value.facts["candidates"] == sorted([owner.email, other.email])
    other.is_active = False
    other.save()
    assert acting(None) == owner
    with pytest.raises(Ended, match="Nobody signs in here"):
        acting(other.email)


@pytest.mark.django_db
def test_a_terminal_refuses_with_the_words_of_the_pages() -> None:
    from devices.models import AuditEvent
    from devices.policies import Right

    household = make_household("Garden")
    viewer = make_user(role=Role.VIEWER, household=household)
    with pytest.raises(Ended) as ended:
        require(viewer, Right.INSTALL, household)
    assert str(ended.value) == "Your role in Garden does not let you install firmware."
    event = AuditEvent.objects.get(action="access.refused")
    assert (event.actor_name, event.actor_role, event.via) == (viewer.email, "viewer", "terminal")


@pytest.mark.django_db
def test_a_verdict_carries_its_three_witnesses() -> None:
    now = datetime(2025, 7, 1, tzinfo=UTC)
    job = make_job(
        state=State.VERIFIED,
        now=now,
        outcome="verified",
        cloud_word="success",
        cloud_meaning="success",
        cloud_said_at=now,
        version_seen="5.3.3",
        version_agreed_at=now,
        is_online=True,
        online_seen_at=now,
    )
    values = json.loads(as_json(job_values(job)))
    assert values["is_verified"]
    assert values["support_code"].startswith("TW-")
    assert {name: one["agrees"] for name, one in values["witnesses"].items()} == {
        "cloud": True,
        "version": True,
        "online": True,
    }
    assert all(one["at"].endswith("+00:00") for one in values["witnesses"].values())


def test_no_command_takes_a_password_as_an_argument() -> None:
    commands = Path(__file__).resolve().parent.parent / "devices" / "management" / "commands"
    for name in ("firmware", "cloud_account", "household"):
        assert '"--password' not in (commands / f"{name}.py").read_text()


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
