"""Output of the terminal commands: plain lines for people, one JSON object a line for programs.

Names and descriptions come from a cloud, so nothing is written here that could steer a terminal:
every line for people passes `plain`, and JSON is ASCII only.
"""

import getpass
import json
import os
import select
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, TextIO

from devices.cli.errors import CommandEnd, Exit
from devices.presentation.serializers import json_value

CLEAR_LINE = "\r\x1b[K"
LISTENS_S = 0.5  # how late a Ctrl-C may be noticed


def plain(text: object) -> str:
    """Return the text on one line, without control, direction or other unseen characters."""
    clean = "".join(
        " " if (kind := unicodedata.category(char))[0] == "C" or kind in {"Zl", "Zp"} else char
        for char in str(text)
    )
    return clean.rstrip()


def width(text: str) -> int:
    """Return how many columns the text takes up in a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, columns: int) -> str:
    """Return the text, ended with … where it would be wider than so many columns."""
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[:-1]
    return f"{text.rstrip()}…" if columns > 0 else ""


def as_json(values: dict[str, Any]) -> str:
    """Return one line of ASCII JSON; times are ISO 8601 in UTC, spans are seconds."""
    return json.dumps(values, default=json_value, ensure_ascii=True)


class Console:
    """What one command writes: to people or, with is_json, to a program.

    When the output is closed (a broken pipe) it writes nothing more and `is_unheard` is set.
    """

    def __init__(self, out: TextIO, err: TextIO, *, is_json: bool) -> None:
        self.out, self.err, self.is_json = out, err, is_json
        for stream in (out, err):
            if isinstance(stream, TextIOWrapper):  # a terminal may lack some letters
                stream.reconfigure(errors="backslashreplace")
        self.is_unheard = False
        self.is_live = not is_json and out.isatty() and os.environ.get("TERM") != "dumb"
        """Is there a person at a terminal that can write over a line?"""
        self._line = ""

    def say(self, text: str = "") -> None:
        """Write a line for people; nothing when a program reads."""
        if not self.is_json:
            self._write(plain(text))

    def tell(self, event: str, **values: Any) -> None:
        """Write a line for a program; nothing when people read."""
        if self.is_json:
            self._write(as_json({"event": event, **values}))

    def hint(self, text: str) -> None:
        """Write a line to standard error, for people and programs."""
        self._close_line()
        self._write(plain(text), to_err=True)

    def live(self, text: str) -> None:
        """Write over the last line of a person's terminal; nothing elsewhere."""
        if not self.is_live:
            return
        line = cut(plain(text), shutil.get_terminal_size().columns - 1)
        if line != self._line:
            self._write(CLEAR_LINE + line, ending="")
            self._line = line

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Write rows in columns as wide as they need to be; the first row names them."""
        clean = [[plain(cell) for cell in row] for row in rows]
        wide = [max(map(width, column)) for column in zip(*clean, strict=True)]
        for row in clean:
            cells = (cell + " " * (w - width(cell)) for cell, w in zip(row, wide, strict=True))
            self.say("  ".join(cells))

    def agrees(self, question: str) -> bool:
        """Ask on standard error; True only for a typed y or yes. The end of input is a no."""
        self._close_line()
        while True:
            self._write(f"{plain(question)} [y/n] ", ending="", to_err=True)
            answer = _typed_line()
            if not answer:
                self._write("", to_err=True)
                return False
            if answer.strip().lower() in {"y", "yes"}:
                return True
            if answer.strip().lower() in {"n", "no"}:
                return False

    def _close_line(self) -> None:
        if self._line:
            self._line = ""
            self._write(CLEAR_LINE, ending="")

    def _write(self, text: str, *, ending: str = "\n", to_err: bool = False) -> None:
        if not to_err and not text.startswith(CLEAR_LINE):
            self._close_line()
        stream = self.err if to_err else self.out
        try:
            stream.write(text + ending)
            stream.flush()
        except BrokenPipeError:
            self.is_unheard = self.is_unheard or not to_err
            _silence(stream)


def _typed_line() -> str:
    """Return the next line of the input; a Ctrl-C is noticed at any time.

    One that comes just before a blocking read starts is only noted by Python and would wait for the
    next key, so at a terminal the read starts once there is something to read.
    """
    if sys.stdin.isatty():
        while not select.select([sys.stdin], [], [], LISTENS_S)[0]:
            pass
    return sys.stdin.readline()


def _silence(stream: TextIO) -> None:
    """Discard further output of this stream, also when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def read_password(question: str, *, is_new: bool = False) -> str:
    """Return a password: asked for without echo at a terminal, else the first line of the input.

    A new one is asked for twice at a terminal. Raises CommandEnd when none was given.
    """
    if sys.stdin.isatty():
        try:
            password = getpass.getpass(f"{plain(question)}: ")
            if is_new and password and getpass.getpass("Once more: ") != password:
                raise CommandEnd(Exit.NOT_UNDERSTOOD, "The two passwords differ.")
        except EOFError:
            password = ""
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandEnd(
            Exit.NOT_UNDERSTOOD, "No password came. It is read from the first line of the input."
        )
    return password
