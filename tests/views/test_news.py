"""One line after an upgrade for each person, and the page it leads to."""

import pytest

from devices.models import Role, User
from devices.presentation.whats_new import parse
from tests.support.client import Client
from tests.support.factories import make_household, make_user, sign_in
from thermacell_web import __version__

TEXT = """# Changelog

About.

## Unreleased

### Added

- A page
  over two lines, with `code`, *names* and **what matters**; see [docs](docs/a.md).
- A table:

  | before | now |
  |---|---|
  | `a` | `b` |

  and more words.

## 0.1.0

The first.
"""


def test_the_changelog_becomes_versions_sections_and_changes() -> None:
    newest, first = parse(TEXT)
    assert (newest.version, first.version) == ("", "0.1.0")
    page, table, more = newest.sections[0].changes
    assert page.spans == [
        ("", "A page over two lines, with "),
        *(("code", "code"), ("", ", "), ("em", "names"), ("", " and "), ("strong", "what matters")),
        *(("", "; see "), ("", "docs"), ("", ".")),
    ]
    assert table.rows == [[[("", "before")], [("", "now")]], [[("code", "a")], [("code", "b")]]]
    assert more.spans == [("", "and more words.")]
    assert first.sections[0].changes[0].spans == [("", "The first.")]


@pytest.mark.django_db
def test_it_is_shown_once_to_each_person_and_to_none_who_comes_new(client: Client) -> None:
    home = make_household()
    old, new = (make_user(role=Role.OWNER, household=home) for _ in range(2))
    User.objects.filter(pk=old.pk).update(news_seen="0.0.9")  # as the version before left it
    words = "Thermacell Web was upgraded."
    sign_in(client, old)
    assert words in client.get("/").content.decode()
    client.get("/new/")
    assert words in client.get("/").content.decode(), "looking changes nothing"
    answer = client.post("/new/seen/", headers={"referer": "http://testserver/history/"})
    assert answer["Location"] == "/history/"
    assert words not in client.get("/").content.decode()
    assert User.objects.get(pk=old.pk).news_seen == __version__
    assert words not in sign_in(Client(), new).get("/").content.decode()


@pytest.mark.django_db
def test_the_page_shows_what_this_version_brought(client: Client) -> None:
    sign_in(client, make_user(role=Role.OWNER, household=make_household()))
    text = client.get("/new/").content.decode()
    assert "Version 0.1.0" in text
    assert "<code>" in text
    assert "**" not in text.partition("<main")[2]
