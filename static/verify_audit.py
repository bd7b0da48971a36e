#!/usr/bin/env python3
"""Check an exported audit trail of Thermacell Web, without the server that wrote it.

    python3 verify_audit.py audit-trail.jsonl
    python3 verify_audit.py audit-trail.jsonl --mark mail.txt
    python3 verify_audit.py audit-trail.jsonl --heads heads.jsonl --key-file keys.json

Needs Python 3.9 or newer and nothing else; it shares no code with the server. Reads line by line.
Exit status: 0 intact, 1 not intact, 2 could not be checked.

What is checked, without any secret: every entry fits its digest, every digest follows the one
before, no entry is missing, twice or in another place, from the beginning (or the checkpoint that
replaced pruned entries) to the head. Entries that you may not see are in the file as digests only.

A whole new or a shorter trail can fit in itself. Only a head that was kept elsewhere shows the
difference, and it proves the entries up to that head:
  --mark FILE    any text with such a head in it: a mail or a receipt ("51:3f2a..."), or the file
                 audit-marks.jsonl of the server's data folder
  --head N:HEX   such a head, typed
  --heads FILE   the file of daily heads
With --key-file the seals are checked too, which only the server can make.
"""

# The syntax and the library are those of Python 3.9.
import argparse
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Optional

FORMAT = "thermacell-web-audit-1"
MARK_FORMAT = "thermacell-web-mark-1"
MARK = ("number", "at", "kind", "birth", "sequence", "digest", "words")
STARTS = ("restored", "explained")
KEPT_HEAD = re.compile(r"\b(\d{1,18}):([0-9a-f]{64})\b")
APART = ("previous_digest", "digest", "seal")
NEAR = 200


class NotIntact(Exception):
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
    values = {name: value for name, value in row.items() if name not in APART}
    if sequence is not None:
        values["sequence"] = sequence
    return sha256(json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def link(sequence: int, previous: str, content: str) -> str:
    return sha256(f"{sequence}\n{previous}\n{content}")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of one JSON object; a name that is there twice could mean two things."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def names(line: bytes, wanted: int) -> bool:
    """Is this the line of that entry?"""
    try:
        found = json.loads(line.decode("utf-8"))
        hidden = found.get("hidden")
        if isinstance(hidden, dict):
            return bool(hidden["first"] <= wanted <= hidden["last"])
        return bool(found.get("sequence") == wanted)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False


def numbers(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"


class Check:
    """One pass over one file."""

    def __init__(self, path: str, key: Optional[bytes], heads: dict[int, str]) -> None:
        self.path, self.key, self.heads = path, key, heads
        self.at, self.digest = 0, "0" * 64
        self.shown = self.hidden = self.compared = self.proven = 0
        self.start = 0
        self.file_digest = hashlib.sha256()
        self.about: dict[str, Any] = {}

    def run(self) -> None:
        """Raise NotIntact for the first thing that does not fit."""
        lines = self.lines()
        try:
            number, self.about = next(lines)
        except StopIteration:
            raise Unreadable("The file is empty.") from None
        self.read_header(number)
        ended = None
        for number, found in lines:
            if ended is not None:
                raise NotIntact("inserted", f"Line {number} comes after the end.")
            if "end" in found:
                ended = found
                self.read_end(found)
            elif "hidden" in found:
                self.read_hidden(number, found)
            else:
                self.read_row(number, found)
        if ended is None:
            raise NotIntact("cut", f"The end is missing: the file stops after entry {self.at}.")
        for sequence in sorted(self.heads):
            if sequence > self.at:
                raise NotIntact(
                    "cut",
                    f"The trail once reached entry {sequence} and ends at entry {self.at} here.",
                )

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = json.loads(line.decode("utf-8"), object_pairs_hook=once)
                except ValueError:
                    if number == 1:
                        raise Unreadable("This is not an export of an audit trail.") from None
                    raise NotIntact("changed", f"Line {number} cannot be read.") from None
                if not isinstance(found, dict):
                    raise NotIntact("changed", f"Line {number} is not an entry.")
                if "end" not in found:
                    self.file_digest.update(line)
                yield number, found

    def read_header(self, number: int) -> None:
        if self.about.get("format") != FORMAT:
            raise Unreadable("This is not an export of an audit trail, or it has another format.")
        try:
            start = self.about["start"]
            self.start = self.at = int(start["sequence"])
            self.digest = str(start["digest"])
            checkpoint = self.about["checkpoint"]
        except (KeyError, TypeError, ValueError):
            raise NotIntact(
                "changed", f"Line {number} does not say where the trail starts."
            ) from None
        if self.start == 0 and self.digest != "0" * 64:
            raise NotIntact("changed", "The trail does not start at its beginning.")
        if self.start and not checkpoint:
            raise NotIntact("deleted", f"{numbers(1, self.start)} missing, without a checkpoint.")
        if checkpoint and self.key is not None:
            words = (self.start, self.digest, checkpoint.get("rows"), checkpoint.get("at"))
            if sealed(self.key, "checkpoint", *words) != checkpoint.get("seal"):
                raise NotIntact("deleted", "The checkpoint was not written by the server.")
        self.compare()

    def read_row(self, number: int, row: dict[str, Any]) -> None:
        sequence = row.get("sequence")
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            raise NotIntact("changed", f"Line {number} does not say which entry it is.")
        self.follow(sequence)
        content = content_digest(row)
        expected = link(sequence, self.digest, content)
        if expected != row.get("digest"):
            raise self.wrong(sequence, row)
        if row.get("previous_digest") != self.digest:
            raise NotIntact("changed", f"Entry {sequence} was changed.")
        if self.key is not None and sealed(self.key, "row", expected) != row.get("seal"):
            raise NotIntact(
                "rewritten", f"Entry {sequence} was replaced: its digests fit, its seal is wrong."
            )
        self.at, self.digest = sequence, expected
        self.shown += 1
        self.compare()

    def wrong(self, sequence: int, row: dict[str, Any]) -> NotIntact:
        """Return what is wrong with an entry whose digest does not fit."""
        previous, digest = str(row.get("previous_digest")), row.get("digest")
        for there in range(max(1, sequence - NEAR), sequence + NEAR):
            if link(there, previous, content_digest(row, there)) != digest:
                continue
            if there == sequence:
                return NotIntact(
                    "rewritten",
                    f"Entry {sequence} does not follow entry {self.at}: that one, or some before "
                    "it, was replaced.",
                )
            kind = "deleted" if there > sequence else "inserted"
            words = "entries are missing before it" if there > sequence else "entries were added"
            return NotIntact(kind, f"Entry {sequence} was written as entry {there}: {words}.")
        return NotIntact("changed", f"Entry {sequence} was changed: it does not fit its digest.")

    def read_hidden(self, number: int, found: dict[str, Any]) -> None:
        try:
            first, last = int(found["hidden"]["first"]), int(found["hidden"]["last"])
            contents = [str(one) for one in found["content_digests"]]
        except (KeyError, TypeError, ValueError):
            raise NotIntact("changed", f"Line {number} is not an entry.") from None
        self.follow(first)
        if len(contents) != last - first + 1:
            raise NotIntact("deleted", f"Some of entries {first} to {last} are missing.")
        for sequence, content in enumerate(contents, first):
            self.digest = link(sequence, self.digest, content)
            self.at = sequence
            self.compare()
        self.hidden += len(contents)
        if self.digest != found.get("digest"):
            raise NotIntact(
                "changed",
                f"Among entries {first} to {last}, given by digest only, one was changed.",
            )

    def read_end(self, found: dict[str, Any]) -> None:
        end = found["end"] if isinstance(found["end"], dict) else {}
        sequence, digest = end.get("sequence"), end.get("digest")
        if not isinstance(sequence, int) or sequence < self.at:
            raise NotIntact("inserted", f"There are entries after the head, no. {sequence}.")
        if sequence > self.at:
            raise NotIntact("cut", f"{numbers(self.at + 1, sequence)} missing at the end.")
        if digest != self.digest:
            raise NotIntact("rewritten", f"The head has another digest for entry {self.at}.")
        if (found.get("rows"), found.get("hidden")) != (self.shown, self.hidden):
            raise NotIntact("deleted", "Entries that were given in full are by digest only now.")
        if self.key is None:
            return
        birth = () if sequence else (end.get("birth"),)
        if sealed(self.key, "head", sequence, digest, *birth) != end.get("seal"):
            raise NotIntact("cut", "The seal of the head is wrong: the end may be missing.")
        if sealed(self.key, "export", self.file_digest.hexdigest()) != found.get("seal"):
            raise NotIntact("changed", "The file is not as the server sent it.")

    def follow(self, sequence: int) -> None:
        """Raise NotIntact unless this is the next entry."""
        expected = self.at + 1
        if sequence == expected:
            return
        if sequence < expected:
            raise NotIntact("reordered", f"Entry {sequence} comes after entry {self.at}.")
        if self.comes_later(expected):
            raise NotIntact("reordered", f"Entry {sequence} comes before entry {expected}.")
        raise NotIntact("deleted", f"{numbers(expected, sequence - 1)} missing.")

    def comes_later(self, wanted: int) -> bool:
        with open(self.path, "rb") as file:
            return any(names(line, wanted) for line in file)

    def compare(self) -> None:
        """Compare the place that was reached with the heads kept outside."""
        digest = self.heads.get(self.at)
        if digest is None:
            return
        if digest != self.digest:
            raise NotIntact(
                "rewritten",
                f"Entry {self.at} is not the one of the head that was kept: entries up to there "
                "were replaced.",
            )
        self.compared += 1
        self.proven = self.at


def read_text(path: str, key: Optional[bytes]) -> dict[int, str]:
    """Return the heads in a mail, a receipt or a file of marks. Of marks the last start counts."""
    heads: dict[int, str] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            mark = read_mark(line, key)
            if mark is None:
                add(heads, KEPT_HEAD.findall(line))
                continue
            if mark["kind"] in STARTS:
                heads.clear()
            add(heads, [(mark["sequence"], mark["digest"])])
    if not heads:
        raise Unreadable(f"There is no head of an audit trail in {path}.")
    heads.pop(0, None)
    return heads


def read_mark(line: str, key: Optional[bytes]) -> Optional[dict[str, Any]]:
    """Return the mark in a line; with the key only one whose seal fits."""
    try:
        mark = json.loads(line)
        if mark["format"] != MARK_FORMAT:
            return None
        words = [mark[name] for name in MARK]
        if key is not None and sealed(key, "mark", *words) != mark["seal"]:
            return None
        return {name: mark[name] for name in MARK}
    except (ValueError, KeyError, TypeError):
        return None


def add(heads: dict[int, str], found: Iterable[tuple[Any, Any]]) -> None:
    for sequence, digest in found:
        if heads.setdefault(int(sequence), str(digest)) != digest:
            raise NotIntact("heads", f"The heads that were kept name entry {sequence} in two ways.")


def read_heads(path: str, key: Optional[bytes]) -> dict[int, str]:
    heads: dict[int, str] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                sequence, digest = int(found["sequence"]), str(found["digest"])
                seal = found["seal"]
            except (ValueError, KeyError, TypeError):
                raise NotIntact("heads", f"Line {number} of the heads cannot be read.") from None
            if key is not None and sealed(key, "head", sequence, digest) != seal:
                raise NotIntact("heads", f"Line {number} of the heads is not by the server.")
            if heads.setdefault(sequence, digest) != digest:
                raise NotIntact("heads", f"The heads name entry {sequence} in two ways.")
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
    parser.add_argument("--mark", metavar="FILE", help="a kept mail, receipt or file of marks")
    parser.add_argument("--head", metavar="N:HEX", help="a kept head")
    parser.add_argument("--heads", metavar="FILE", help="a file of daily heads")
    parser.add_argument("--key-file", metavar="FILE", help="the audit key, or keys.json")
    options = parser.parse_args(words)
    try:
        key = read_key(options.key_file) if options.key_file else None
        heads = read_heads(options.heads, key) if options.heads else {}
        if options.mark:
            add(heads, read_text(options.mark, key).items())
        if options.head:
            typed = KEPT_HEAD.findall(options.head)
            if not typed:
                raise Unreadable("--head takes a number, a colon and 64 hexadecimal digits.")
            add(heads, typed)
        check = Check(options.export, key, heads)
        check.run()
    except NotIntact as problem:
        print(f"NOT INTACT ({problem.kind}): {problem}")
        return 1
    except (OSError, UnicodeDecodeError, Unreadable) as problem:
        print(f"Could not be checked: {problem}", file=sys.stderr)
        return 2
    since = "the beginning" if not check.start else f"the checkpoint at entry {check.start}"
    print(f"INTACT from {since} to entry {check.at}.")
    print(f"In full: {check.shown}. By digest only: {check.hidden}.")
    print(f"Head: no. {check.at} {check.digest}")
    older = sum(1 for sequence in heads if sequence < check.start)
    if heads:
        print(f"Heads kept outside: {check.compared} compared, {older} older than the checkpoint.")
    if check.proven:
        print(f"Confirmed up to entry {check.proven} by a head that was kept outside.")
    else:
        print("Nothing from outside confirms it yet: give --mark, --head or --heads.")
    print("Seals: checked." if key else "Seals: not checked; that takes --key-file.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
