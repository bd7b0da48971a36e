"""Setting a server up by commands alone: people, households, cloud accounts."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from devices.cli.errors import Exit
from tests.support.terminal import (
    CLOUD_EMAIL,
    CLOUD_PASSWORD,
    OWNER,
    PASSWORD,
    VIEWER,
    Terminal,
    a_terminal,
)

pytestmark = pytest.mark.processes
LINK = ("cloud_account", "link", "--email", CLOUD_EMAIL)
UNLINK = ("cloud_account", "unlink", "--email", CLOUD_EMAIL)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with a_terminal(tmp_path_factory.mktemp("set-up"), hubs=3, is_set_up=False) as made:
        yield made


@pytest.fixture(scope="module")
def terminal(empty: Terminal) -> Terminal:
    empty.set_up()
    return empty


def test_before_the_tables_exist_the_message_says_what_to_do(empty: Terminal) -> None:
    done = empty.run("firmware", "list")
    assert done.returncode == 1
    assert "so does `manage.py migrate`" in done.stderr
    assert "DATA_DIR" in done.stderr, "the data may be in another folder"
    assert "Traceback" not in done.stderr
    empty.ok("migrate", "--verbosity", "0")
    done = empty.run("firmware", "list")
    assert done.returncode == Exit.NOT_UNDERSTOOD
    assert "There is no owner yet" in done.stderr


def test_people_and_households_are_made_and_recorded(terminal: Terminal) -> None:
    lines = terminal.lines("household", "list")
    assert [(line["household"], line["people"]) for line in lines] == [
        ("Garden", [{"email": OWNER, "role": "owner"}, {"email": VIEWER, "role": "viewer"}])
    ]
    created = terminal.trail("household.created")
    assert [(role, via, outcome) for _, role, via, outcome in created] == [
        ("operator", "terminal", "done")
    ]
    assert len(terminal.trail("household.joined")) == 1
    assert len(terminal.trail("person.created")) == 2


def test_setting_up_twice_changes_nothing_and_asks_for_no_password(terminal: Terminal) -> None:
    events = terminal.rows("SELECT count(*) FROM devices_auditevent")
    again = terminal.lines("household", "create", "garden", "--owner", OWNER.upper())
    assert again[-1]["is_changed"] is False
    add = ("household", "add", "1", "--email", VIEWER, "--role", "viewer")
    assert terminal.lines(*add)[-1]["is_changed"] is False
    assert terminal.rows("SELECT count(*) FROM devices_auditevent") == events


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (("create", "New", "--owner", "new@example.com"), "short\n", "too short"),
        (("create", "New", "--owner", "new@example.com"), "", "No password came"),
        (("create", "New", "--owner", "unknown"), f"{PASSWORD}\n", "valid email"),
        (("create", "N", "--owner", OWNER, "--time-zone", "Mars/Base"), "", "no time zone"),
        (("create", "\x1b \n", "--owner", OWNER), "", "1 to 120 letters"),
        (("add", "Elsewhere", "--email", VIEWER), "", "No household is called Elsewhere"),
        (("add", "Garden", "--email", VIEWER, "--role", "king"), "", "invalid choice"),
        (("remove", "Garden", "--email", "x@example.com"), "", "does not belong"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence_and_changes_nothing(
    terminal: Terminal, words: tuple[str, ...], typed: str, sentence: str
) -> None:
    people = terminal.rows("SELECT count(*) FROM devices_user")
    done = terminal.run("household", *words, typed=typed)
    assert done.returncode == Exit.NOT_UNDERSTOOD
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert terminal.rows("SELECT count(*) FROM devices_user") == people


def test_roles_change_but_a_household_keeps_an_owner(terminal: Terminal) -> None:
    terminal.ok("household", "create", "Cabin", "--owner", OWNER, "--time-zone", "Europe/Berlin")
    join = ("household", "add", "Cabin", "--email", VIEWER)
    terminal.ok(*join)
    assert terminal.lines(*join, "--role", "owner")[-1]["is_changed"] is True
    terminal.ok("household", "remove", "Cabin", "--email", OWNER)
    for words in (("remove",), ("add", "--role", "member")):
        command, *rest = words
        done = terminal.run("household", command, "Cabin", "--email", VIEWER, *rest)
        assert done.returncode == Exit.REFUSED
        assert "needs at least one owner" in done.stderr
    assert len(terminal.trail("household.role_changed")) == 1
    assert len(terminal.trail("household.removed")) == 1
    several = terminal.run("firmware", "list")
    assert several.returncode == Exit.NOT_UNDERSTOOD
    assert f"say who acts with --as EMAIL: {OWNER}, {VIEWER}" in several.stderr


def test_a_staff_role_is_given_and_taken(terminal: Terminal) -> None:
    staff = ("household", "staff", "auditor@example.com", "--role")
    terminal.ok(*staff, "auditor", typed=f"{PASSWORD}\n")
    assert terminal.rows("SELECT staff_role FROM devices_user WHERE email LIKE 'auditor%'") == [
        ("auditor",)
    ]
    assert terminal.lines(*staff, "auditor")[-1]["is_changed"] is False
    terminal.ok(*staff, "none")
    assert len(terminal.trail("person.staff_role")) == 2


def test_a_password_typed_at_a_terminal_is_asked_twice_and_never_shown(terminal: Terminal) -> None:
    add = ("household", "add", "Garden", "--email", "typed@example.com")
    differing = {"12 characters:": f"{PASSWORD}\n", "Once more:": "something else\n"}
    status, output = terminal.typing(differing, *add)
    assert status == Exit.NOT_UNDERSTOOD
    assert "The two passwords differ." in output
    same = {"12 characters:": f"{PASSWORD}\n", "Once more:": f"{PASSWORD}\n"}
    status, output = terminal.typing(same, *add)
    assert status == 0, output
    assert PASSWORD not in output


def test_an_account_is_linked_listed_and_unlinked(terminal: Terminal) -> None:
    owner = ("--as", OWNER)
    found = terminal.lines("cloud_account", "list", *owner)
    assert [(line["email"], line["state"], line["hubs"]) for line in found] == [
        (CLOUD_EMAIL, "linked", 3)
    ]
    assert (OWNER, "owner", "terminal", "done") in terminal.trail("account.linked")

    wrong = terminal.run(*LINK, *owner, typed="wrong\n")
    assert wrong.returncode == Exit.REFUSED
    assert "Not linked. " in wrong.stderr
    assert (OWNER, "owner", "terminal", "refused") in terminal.trail("account.link")

    again = terminal.lines(*LINK, *owner, "--household", "garden", typed=f"{CLOUD_PASSWORD}\n")
    assert [line["event"] for line in again] == ["hub", "hub", "hub", "linked"]
    assert all(line["ota_available"] for line in again[:3])

    declined = terminal.run(*UNLINK, *owner, typed="n\n")
    assert declined.returncode == Exit.NOT_CONFIRMED
    terminal.ok(*UNLINK, *owner, "--yes")
    assert terminal.rows(
        "SELECT state, sealed_access_token, sealed_refresh_token FROM devices_cloudaccount"
    ) == [("unlinked", "", "")]
    assert terminal.lines("cloud_account", "list", *owner) == []
    assert terminal.run(*UNLINK, *owner, "--yes").returncode == Exit.NOT_UNDERSTOOD

    output = terminal.ok(*LINK, *owner, "--no-wait", typed=f"{CLOUD_PASSWORD}\n")
    assert "The worker reads its hubs." in output


def test_a_viewer_neither_links_nor_unlinks(terminal: Terminal) -> None:
    viewer = ("--as", VIEWER, "--household", "Garden")
    for words in (LINK, (*UNLINK, "--yes")):
        done = terminal.run(*words, *viewer, typed=f"{CLOUD_PASSWORD}\n")
        assert done.returncode == Exit.REFUSED
        assert "Your role in Garden does not let you manage cloud accounts." in done.stderr
    assert [row[:3] for row in terminal.trail("access.refused")] == [
        (VIEWER, "viewer", "terminal")
    ] * 2


def test_a_cloud_that_is_not_there_or_not_safe_is_said_so(terminal: Terminal) -> None:
    owner = ("--as", OWNER)
    typed = f"{CLOUD_PASSWORD}\n"
    away = replace(terminal)
    away.environment |= {"DEFAULT_CLOUD_URL": "http://127.0.0.1:9"}
    away_said = away.run(*LINK, *owner, typed=typed)
    assert away_said.returncode == Exit.NO_ANSWER
    unsafe = terminal.run(*LINK, *owner, "--url", "http://cloud.example.org", typed=typed)
    assert unsafe.returncode == Exit.NOT_UNDERSTOOD
    assert "not set up to use that cloud" in unsafe.stderr
    for done in (away_said, unsafe):
        assert "Not linked. " in done.stderr
        assert "Traceback" not in done.stderr


def test_no_secret_is_written_anywhere(terminal: Terminal) -> None:
    for row in terminal.rows("SELECT sentence, detail, why FROM devices_auditevent"):
        assert CLOUD_PASSWORD not in str(row)
        assert PASSWORD not in str(row)
    for file in terminal.data_dir.rglob("*"):
        if file.is_file():
            assert CLOUD_PASSWORD.encode() not in file.read_bytes(), file
            assert PASSWORD.encode() not in file.read_bytes(), file
