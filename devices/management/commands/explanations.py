"""Print every explanation this dashboard can give, with its support code, as Markdown.

python manage.py explanations > docs/explanations.md
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from devices.catalogue import JOBS, PLAIN, Explanation
from devices.explain import HubWords, explain_cloud_code, explain_report
from devices.hubwords import NO_KNOWN_WORD, REASONS, TEXTS, UNKNOWN_REASON, WORDS
from devices.models.ota import State
from devices.troubles import CLOUD_CODES, OTHER_TROUBLE, TROUBLES

HEAD = """\
# Every explanation, by support code

Made by `python manage.py explanations`; do not edit. Words in braces are filled in on the page.
Words of a hub and numbers of a cloud that are not in here are shown as they were said, and counted:
support and administrators read the counts under *Unexplained*.
"""
EXPLAINED = ("Code", "When", "Verdict", "What happened", "Is the hub safe", "What to do now")
REPORTED = ("Code", "Status", "The hub's words", "What we say", "Stage", "Then")


class Command(BaseCommand):
    help = "Print every explanation with its support code, as Markdown (docs/explanations.md)."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(page(), ending="")


def page() -> str:
    """Return the whole of docs/explanations.md."""
    parts = [
        HEAD,
        "## Installs\n",
        _table(EXPLAINED, (_row(entry, _when(*key)) for key, entry in JOBS.items())),
        "## Troubles with the cloud\n",
        _table(EXPLAINED, _trouble_rows()),
        "## The cloud's error numbers\n",
        _table(
            EXPLAINED,
            (
                _row(explain_cloud_code(code), f"{code}: `{trouble}`")
                for code, (trouble, _) in sorted(CLOUD_CODES.items())
            ),
        ),
        "## What hubs say\n",
        _table(REPORTED, _report_rows()),
    ]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def _row(entry: Explanation, when: str) -> tuple[str, ...]:
    return (entry.code, when, entry.headline, entry.what, entry.is_safe, entry.todo)


def _when(state: State, key: str) -> str:
    if key:
        return f"{state}: `{key}`"
    return f"{state}: `{PLAIN[state]}`" if state in PLAIN else f"{state}"


def _trouble_rows() -> Iterator[tuple[str, ...]]:
    for code, entry in TROUBLES.items():
        yield _row(entry, f"`{code}`")
    yield _row(OTHER_TROUBLE, "any other")


def _report_rows() -> Iterator[tuple[str, ...]]:
    for word in WORDS:
        yield _report_row(word, "", "any other, or none")
    for text in TEXTS:
        yield _report_row(text.word, text.example, text.example)
    for reason in REASONS:
        yield _report_row("failed", f"OTA Attempt 1/3 failed: {reason.example}", reason.example)
    yield (
        UNKNOWN_REASON,
        "failed",
        "an attempt failed, any other reason",
        "The reason is quoted.",
        "",
        "`attempts_failed`, may try again",
    )
    yield (
        NO_KNOWN_WORD.code,
        "any other",
        "any",
        f"Both are quoted. {NO_KNOWN_WORD.sentence}",
        "",
        "",
    )


def _report_row(word: str, info: str, shown: str) -> tuple[str, ...]:
    said = explain_report(word, info)
    stage = said.stage.name.lower().replace("_", " ") if said.stage else ""
    return (said.code, word, shown, f"**{said.title}.** {said.sentence}", stage, _then(said))


def _then(said: HubWords) -> str:
    parts = []
    if said.delay:
        parts.append(f"waits up to {_amount(said.delay)}")
    if said.outcome:
        parts.append(f"`{said.outcome}`")
        parts.append("final" if said.is_final_failure else "may try again")
    return ", ".join(parts)


def _amount(delay: timedelta) -> str:
    minutes = int(delay.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
