"""What the terminal prints: for people, for programs, and nothing that steers it."""

import json
import os
from datetime import datetime, timedelta, timezone
from io import StringIO

from devices.cli.console import Console, as_json, cut, plain, width


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
        console.say("to a closed pipe")
        assert console.is_unheard
        console.say("still to a closed pipe")
