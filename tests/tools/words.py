"""The words of the product in other languages: `make words` gathers and compiles them.

Gathers every text that can be translated from the templates, the Python files and the sentences
that are data, brings devices/locale/*/LC_MESSAGES/django.po up to date and writes the .mo files
beside them. With --check it changes nothing and ends with 1 when something is missing or stale.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import django
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[2]
LOCALE = ROOT / "devices" / "locale"
LANGUAGES = ("de", "es")
KEYWORDS: dict[str, Any] = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
}
# The same words give the same files, whenever they are written.
THEN = datetime(2026, 1, 1, tzinfo=UTC)
HOLE = re.compile(r"%\((\w+)\)[sd]|\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Message:
    """One text to translate, with its plural, its context and where it stands."""

    key: str | tuple[str, str]
    context: str | None
    place: str


def gather() -> list[Message]:
    """Return every text of the product that can be translated, in the order of the files."""
    found = [*_of_templates(), *_of_python(), *_of_data()]
    return [one for one in found if one.key and one.key != ("", "")]


def _of_templates() -> Iterator[Message]:
    from django.utils.translation.template import templatize

    for path in sorted((ROOT / "templates").rglob("*")):
        if path.suffix in {".html", ".txt"}:
            code = templatize(path.read_text(), origin=str(path))
            # it is read as Python, to which the indentation of HTML means something else
            yield from _extract(re.sub(r"^[ \t]+", "", code, flags=re.MULTILINE), path)


def _of_python() -> Iterator[Message]:
    for path in sorted((ROOT / "devices").rglob("*.py")):
        if "migrations" not in path.parts:
            yield from _extract(path.read_text(), path)


def _extract(code: str, path: Path) -> Iterator[Message]:
    place = str(path.relative_to(ROOT))
    found = extract("python", BytesIO(code.encode()), KEYWORDS, options={"encoding": "utf-8"})
    for _, key, _, context in found:
        if isinstance(key, tuple):
            key = key[0] if len(key) == 1 else (key[0], key[1])
        yield Message(key, context, place)


def _of_data() -> Iterator[Message]:
    """Return the sentences that are data: those about installs, troubles and hubs' words."""
    from devices.explanations.cloud_messages import CLOUD_CODES, CLOUD_ERRORS, OTHER_CLOUD_ERROR
    from devices.explanations.firmware_messages import (
        DETAILS,
        NO_KNOWN_WORD,
        REASONS,
        TEXTS,
        WORDS,
        StatusText,
        StatusWord,
    )
    from devices.explanations.install_messages import JOBS

    for place, entries in (
        ("devices/explanations/install_messages.py", [*JOBS.values()]),
        ("devices/explanations/cloud_messages.py", [*CLOUD_ERRORS.values(), OTHER_CLOUD_ERROR]),
    ):
        for one in entries:
            for text in (one.headline, one.what, one.is_safe, one.todo):
                if re.search("[A-Za-z]", re.sub(r"\{\w+\}", "", text)):
                    yield Message(text, None, place)
    for _, meaning in CLOUD_CODES.values():
        yield Message(meaning, None, "devices/explanations/cloud_messages.py")
    words: list[StatusWord | StatusText] = [*WORDS.values(), NO_KNOWN_WORD, *TEXTS]
    texts = [text for word in words for text in (word.title, word.sentence) if text]
    texts += [reason.phrase for reason in REASONS] + [phrase for _, phrase in DETAILS]
    for text in texts:
        yield Message(text, None, "devices/explanations/firmware_status.py")


def path_of(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def read(language: str) -> Catalog:
    """Return what is translated into this language so far."""
    path = path_of(language)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def brought_up_to_date(language: str, messages: list[Message]) -> Catalog:
    """Return the catalogue with exactly these messages, keeping what was translated."""
    old = read(language)
    new = Catalog(locale=language, fuzzy=False, creation_date=THEN, revision_date=THEN)
    new.header_comment = "# Thermacell Web. Gathered and compiled by `make words`."
    for message in messages:
        if (known := new.get(message.key, message.context)) is not None:
            if (message.place, 0) not in known.locations:
                known.locations.append((message.place, 0))
            continue
        before = old.get(message.key, message.context)
        new.add(
            message.key,
            before.string if before is not None else None,
            locations=[(message.place, 0)],
            context=message.context,
        )
    return new


def as_po(catalog: Catalog) -> bytes:
    file = BytesIO()
    write_po(file, catalog, width=100, omit_header=False, include_lineno=False, sort_output=True)
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def faults(catalog: Catalog) -> list[str]:
    """Return what is not translated, or names other values than the English text."""
    found = []
    for message in catalog:
        if not message.id:
            continue
        ids = [str(one) for one in _all(message.id)]
        strings = [str(one or "") for one in _all(message.string)]
        if not all(strings):
            found.append(f"not translated: {ids[0]}")
            continue
        wanted = {hole for one in ids for hole in _holes(one)}
        for string in strings:
            # one of two forms may do without a number
            if _holes(string) - wanted or (len(ids) == 1 and _holes(string) != wanted):
                found.append(f"other values than in English: {string}")
            if string.count("<") != ids[-1].count("<"):
                found.append(f"other tags than in English: {string}")
    return found


def _all(text: Any) -> Sequence[Any]:
    return text if isinstance(text, tuple | list) else (text,)


def _holes(text: str) -> set[str]:
    return {"".join(found) for found in HOLE.findall(text)}


def main() -> int:
    """Bring all languages up to date, or say what is amiss."""
    django.setup()
    is_check, code, messages = "--check" in sys.argv, 0, gather()
    for language in LANGUAGES:
        catalog = brought_up_to_date(language, messages)
        wrong = faults(catalog)
        path = path_of(language)
        for file, content in ((path, as_po(catalog)), (path.with_suffix(".mo"), as_mo(catalog))):
            if is_check and (not file.exists() or file.read_bytes() != content):
                wrong.append(f"{file.relative_to(ROOT)} is not what `make words` makes")
            elif not is_check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        for one in wrong:
            print(f"{language}: {one}")
        code = code or bool(wrong)
        print(f"{language}: {len(catalog)} texts, {len(wrong)} faults")
    return int(code and is_check)


if __name__ == "__main__":
    sys.exit(main())
