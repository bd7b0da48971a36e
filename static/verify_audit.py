#!/usr/bin/env python3
"""Check an exported audit trail of Thermacell Web, without the server that wrote it.

    python3 verify_audit.py audit-trail.jsonl
    python3 verify_audit.py audit-trail.jsonl --heads heads.jsonl --key-file keys.json

Needs Python 3.9 or newer and nothing else; it shares no code with the server. Reads line by line.
Exit status: 0 intact, 1 tampered with, 2 could not be checked.

What is checked, without any secret: every entry fits its digest, every digest follows on the one
before, no entry is missing, twice or in another place, from the beginning (or the checkpoint that
took the place of what was pruned) to the head. Entries that the reader may not see are in the file
by the digest of what they say. Whoever makes up a whole new file from the beginning gives it
another head: compare the head with one that you know, on a receipt, on the server's page, or with
--heads and a file of daily heads. With --key-file the seals are checked too, which only the server
can make.
"""

# The syntax and the library are those of Python 3.9.
import argparse
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from typing import Any, Optional

FORMAT = "thermacell-web-audit-1"
APART = ("previous_digest", "digest", "seal")
NEAR = 200


class Tampered(Exception):
    """Something does not fit."""

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class Unreadable(Exception):
    """This is not a file that can be checked."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sealed(key: bytes, *words: object) -> str:
    text = "\n".join(str(word) for word in words)
    return hmac.new(key, text.encode("utf-8"), hashlib.sha256).hexdigest()


def content_digest(row: dict[str, Any], sequence: Optional[int] = None) -> str:
    said = {name: value for name, value in row.items() if name not in APART}
    if sequence is not None:
        said["sequence"] = sequence
    return sha256(json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def link(sequence: int, previous: str, content: str) -> str:
    return sha256(f"{sequence}\n{previous}\n{content}")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of one JSON object; a name that stands there twice could say two things."""
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a name stands there twice")
    return told


def names(line: bytes, wanted: int) -> bool:
    """Is this the line of that entry?"""
    try:
        told = json.loads(line.decode("utf-8"))
        hidden = told.get("hidden")
        if isinstance(hidden, dict):
            return bool(hidden["first"] <= wanted <= hidden["last"])
        return bool(told.get("sequence") == wanted)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False


def numbers(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"


class Check:
    """One pass over one file."""

    def __init__(self, path: str, key: Optional[bytes], heads: dict[int, str]) -> None:
        self.path, self.key, self.heads = path, key, heads
        self.at, self.digest = 0, "0" * 64
        self.shown = self.hidden = self.compared = 0
        self.start = 0
        self.file_digest = hashlib.sha256()
        self.about: dict[str, Any] = {}

    def run(self) -> None:
        """Raise Tampered for the first thing that does not fit."""
        lines = self.lines()
        try:
            number, self.about = next(lines)
        except StopIteration:
            raise Unreadable("The file is empty.") from None
        self.read_header(number)
        ended = None
        for number, told in lines:
            if ended is not None:
                raise Tampered("inserted", f"Line {number} was put in behind the end.")
            if "end" in told:
                ended = told
                self.read_end(told)
            elif "hidden" in told:
                self.read_hidden(number, told)
            else:
                self.read_row(number, told)
        if ended is None:
            raise Tampered(
                "cut", f"The end is missing: the file was cut off behind entry {self.at}."
            )
        for sequence in sorted(self.heads):
            if sequence > self.at:
                raise Tampered(
                    "cut",
                    f"The trail once reached entry {sequence} and ends at entry {self.at} here.",
                )

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    told = json.loads(line.decode("utf-8"), object_pairs_hook=once)
                except ValueError:
                    if number == 1:
                        raise Unreadable("This is not an export of an audit trail.") from None
                    raise Tampered("changed", f"Line {number} cannot be read.") from None
                if not isinstance(told, dict):
                    raise Tampered("changed", f"Line {number} is no entry.")
                if "end" not in told:
                    self.file_digest.update(line)
                yield number, told

    def read_header(self, number: int) -> None:
        if self.about.get("format") != FORMAT:
            raise Unreadable("This is not an export of an audit trail that I know.")
        try:
            start = self.about["start"]
            self.start = self.at = int(start["sequence"])
            self.digest = str(start["digest"])
            checkpoint = self.about["checkpoint"]
        except (KeyError, TypeError, ValueError):
            raise Tampered(
                "changed", f"Line {number} does not say where the trail starts."
            ) from None
        if self.start == 0 and self.digest != "0" * 64:
            raise Tampered("changed", "The trail does not start at its beginning.")
        if self.start and not checkpoint:
            raise Tampered("deleted", f"{numbers(1, self.start)} missing, without a checkpoint.")
        if checkpoint and self.key is not None:
            words = (self.start, self.digest, checkpoint.get("rows"), checkpoint.get("at"))
            if sealed(self.key, "checkpoint", *words) != checkpoint.get("seal"):
                raise Tampered("deleted", "The checkpoint was not written by the server.")
        self.compare()

    def read_row(self, number: int, row: dict[str, Any]) -> None:
        sequence = row.get("sequence")
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            raise Tampered("changed", f"Line {number} does not say which entry it is.")
        self.follow(sequence)
        content = content_digest(row)
        expected = link(sequence, self.digest, content)
        if expected != row.get("digest"):
            raise self.wrong(sequence, row)
        if row.get("previous_digest") != self.digest:
            raise Tampered("changed", f"Entry {sequence} was changed.")
        if self.key is not None and sealed(self.key, "row", expected) != row.get("seal"):
            raise Tampered(
                "rewritten", f"Entry {sequence} was not written by the server: its seal is wrong."
            )
        self.at, self.digest = sequence, expected
        self.shown += 1
        self.compare()

    def wrong(self, sequence: int, row: dict[str, Any]) -> Tampered:
        """Return what was done to an entry whose digest does not fit."""
        previous, digest = str(row.get("previous_digest")), row.get("digest")
        for there in range(max(1, sequence - NEAR), sequence + NEAR):
            if link(there, previous, content_digest(row, there)) != digest:
                continue
            if there == sequence:
                return Tampered(
                    "rewritten",
                    f"Entry {sequence} does not follow on entry {self.at}: that one, or some "
                    "before it, is not what was written.",
                )
            kind = "deleted" if there > sequence else "inserted"
            words = "entries are missing before it" if there > sequence else "entries were put in"
            return Tampered(kind, f"Entry {sequence} was written as entry {there}: {words}.")
        return Tampered("changed", f"Entry {sequence} was changed: it does not fit its digest.")

    def read_hidden(self, number: int, told: dict[str, Any]) -> None:
        try:
            first, last = int(told["hidden"]["first"]), int(told["hidden"]["last"])
            contents = [str(one) for one in told["content_digests"]]
        except (KeyError, TypeError, ValueError):
            raise Tampered("changed", f"Line {number} is no entry.") from None
        self.follow(first)
        if len(contents) != last - first + 1:
            raise Tampered("deleted", f"Some of entries {first} to {last} are missing.")
        for sequence, content in enumerate(contents, first):
            self.digest = link(sequence, self.digest, content)
            self.at = sequence
            self.compare()
        self.hidden += len(contents)
        if self.digest != told.get("digest"):
            raise Tampered(
                "changed", f"Among entries {first} to {last}, told by digest only, one was changed."
            )

    def read_end(self, told: dict[str, Any]) -> None:
        end = told["end"] if isinstance(told["end"], dict) else {}
        sequence, digest = end.get("sequence"), end.get("digest")
        if not isinstance(sequence, int) or sequence < self.at:
            raise Tampered("inserted", f"Entries were put in behind the head, no. {sequence}.")
        if sequence > self.at:
            raise Tampered("cut", f"{numbers(self.at + 1, sequence)} missing: the end was cut off.")
        if digest != self.digest:
            raise Tampered("rewritten", f"The head does not name entry {self.at} as it is.")
        if (told.get("rows"), told.get("hidden")) != (self.shown, self.hidden):
            raise Tampered("deleted", "Entries that were told in full are told by digest only now.")
        if self.key is None:
            return
        is_empty = sequence == 0 and not end.get("seal")
        if not is_empty and sealed(self.key, "head", sequence, digest) != end.get("seal"):
            raise Tampered("cut", "The head was not set by the server: the end was cut off.")
        if sealed(self.key, "export", self.file_digest.hexdigest()) != told.get("seal"):
            raise Tampered("changed", "The file is not as the server sent it.")

    def follow(self, sequence: int) -> None:
        """Raise Tampered unless this is the next entry."""
        expected = self.at + 1
        if sequence == expected:
            return
        if sequence < expected:
            raise Tampered("reordered", f"Entry {sequence} comes after entry {self.at}.")
        if self.comes_later(expected):
            raise Tampered("reordered", f"Entry {sequence} comes before entry {expected}.")
        raise Tampered("deleted", f"{numbers(expected, sequence - 1)} missing.")

    def comes_later(self, wanted: int) -> bool:
        with open(self.path, "rb") as file:
            return any(names(line, wanted) for line in file)

    def compare(self) -> None:
        """Compare the place that was reached with the heads kept outside."""
        digest = self.heads.get(self.at)
        if digest is None:
            return
        if digest != self.digest:
            raise Tampered(
                "rewritten",
                f"Entry {self.at} is not the one that the heads kept outside name: the trail was "
                "written anew.",
            )
        self.compared += 1


def read_heads(path: str, key: Optional[bytes]) -> dict[int, str]:
    heads: dict[int, str] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                told = json.loads(line)
                sequence, digest = int(told["sequence"]), str(told["digest"])
                seal = told["seal"]
            except (ValueError, KeyError, TypeError):
                raise Tampered("heads", f"Line {number} of the heads cannot be read.") from None
            if key is not None and sealed(key, "head", sequence, digest) != seal:
                raise Tampered("heads", f"Line {number} of the heads is not by the server.")
            if heads.setdefault(sequence, digest) != digest:
                raise Tampered("heads", f"The heads name entry {sequence} in two ways.")
    heads.pop(0, None)
    return heads


def read_key(path: str) -> bytes:
    """Return the audit key: the file's text, or what it calls "audit" when it is a keys.json."""
    with open(path, encoding="utf-8") as file:
        text = file.read().strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text)["audit"])
        except (ValueError, KeyError):
            raise Unreadable("The key file has no audit key.") from None
    return text.encode("utf-8")


def main(words: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Check an exported audit trail.")
    parser.add_argument("export", help="the JSON Lines file")
    parser.add_argument("--heads", metavar="FILE", help="daily heads that were kept outside")
    parser.add_argument("--key-file", metavar="FILE", help="the audit key, or keys.json")
    options = parser.parse_args(words)
    try:
        key = read_key(options.key_file) if options.key_file else None
        heads = read_heads(options.heads, key) if options.heads else {}
        check = Check(options.export, key, heads)
        check.run()
    except Tampered as problem:
        print(f"TAMPERED ({problem.kind}): {problem}")
        return 1
    except (OSError, UnicodeDecodeError, Unreadable) as problem:
        print(f"Could not be checked: {problem}", file=sys.stderr)
        return 2
    since = "the beginning" if not check.start else f"the checkpoint at entry {check.start}"
    print(f"INTACT from {since} to entry {check.at}.")
    print(f"Told in full: {check.shown}. By digest only: {check.hidden}.")
    print(f"Head: no. {check.at} {check.digest}")
    older = sum(1 for sequence in heads if sequence < check.start)
    if options.heads:
        print(f"Heads kept outside: {check.compared} compared, {older} older than the checkpoint.")
    else:
        print("Compare the head with one you know, or give --heads.")
    print("Seals: checked." if key else "Seals: not checked, for that takes --key-file.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
