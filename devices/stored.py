"""Sentences that were stored when something happened, told again in the language of the reader.

What is kept is English, like the trail: who reads it later may speak another language. A text that
is not made of these sentences stays as it is.
"""

import re
from functools import lru_cache

from django.utils.translation import gettext, gettext_noop

SENTENCES = (
    # queues
    gettext_noop("Stopped by %(name)s."),
    gettext_noop("%(hub)s did not end well, so nothing more was started."),
    gettext_noop("The cloud account has to sign in again before more can be started."),
    gettext_noop("Who confirmed it has left this server."),
    gettext_noop("The confirmation is too old now; what still waited was not started."),
    gettext_noop("The confirmation became too old."),
    gettext_noop("A queue of updates stopped. %(words)s"),
    # why a hub cannot take an update: policies, installs, proposals
    gettext_noop("The cloud account no longer has this hub."),
    gettext_noop("The cloud account of this hub is unlinked."),
    gettext_noop("The cloud account of this hub has to sign in again first."),
    gettext_noop("There is no new firmware for this hub right now."),
    gettext_noop("The hub already runs %(version)s."),
    gettext_noop("The hub is offline. It must be online to take new firmware."),
    gettext_noop("An install is already running on this hub."),
    gettext_noop("Your role here may look, but not install. Ask a member or owner."),
    gettext_noop("What the cloud offers is no longer what the form showed. Nothing was sent."),
    gettext_noop("The hub is in use."),
    gettext_noop("The night was over before it could be tried."),
    # messages that could not be sent
    gettext_noop("The message could not be made. That is a fault of ours; the log has more."),
    gettext_noop("Its address cannot be opened with this server's keys: enter it again."),
    gettext_noop("The service did not take the message, or did not answer."),
    gettext_noop("This server has no mail server: whoever runs it can name one with EMAIL_URL."),
    gettext_noop("The mail server did not take it (%(problem)s)."),
    gettext_noop("This is no service that this server can use. It knows %(known)s."),
    gettext_noop("This address is not complete, or misspelt. Copy it once more."),
    # firmware files
    gettext_noop("The cloud no longer offers this file."),
    gettext_noop("The cloud now names another size or MD5."),
    gettext_noop("The cloud no longer gives a link to the file."),
    gettext_noop("The file has %(bytes)s bytes; the cloud says %(said)s."),
    gettext_noop("The file's MD5 is %(md5)s; the cloud says %(said)s."),
    gettext_noop("The cloud gives no MD5 for it."),
    gettext_noop("What the cloud gives as its MD5 is none: it is not hexadecimal."),
    gettext_noop("The cloud gives no size for it."),
    # the worker
    gettext_noop("it had stopped"),
    gettext_noop("it had stopped answering"),
)

# one may begin like another
LONGEST_FIRST = sorted(SENTENCES, key=len, reverse=True)


def told_again(text: str) -> str:
    """Return the text in the active language: one or more of the sentences above."""
    told, rest = [], text
    while rest:
        found = next(filter(None, (_begins(rest, sentence) for sentence in LONGEST_FIRST)), None)
        if found is None:
            return text
        sentence, values, rest = found
        values = {name: told_again(words) for name, words in values.items()}
        told.append(gettext(sentence) % values if values else gettext(sentence))
    return " ".join(told)


def _begins(text: str, sentence: str) -> tuple[str, dict[str, str], str] | None:
    """Return the sentence, its values and what follows it, when the text begins with it."""
    found = _pattern(sentence).match(text)
    return (sentence, found.groupdict(), text[found.end() :]) if found else None


@lru_cache(maxsize=256)
def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"%\((\w+)\)s", sentence)
    words = [re.escape(part) for part in parts[::2]]
    holes = [f"(?P<{name}>.+?)" for name in parts[1::2]] + [""]
    if not words[-1]:
        holes[-2] = holes[-2].replace(".+?", ".+")  # what comes last takes all that follows
    # the end of a sentence is the end of the text, or a blank before the next one
    return re.compile("".join(map("".join, zip(words, holes, strict=True))) + r"(?:$|\s+)")
