"""The walk through every page and state, and what the pages are.

They are those of the access table, which knows every address: a new one cannot escape.
"""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from django.test import Client, override_settings
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from devices.models import AccountState, Channel, Household, Role, State
from tests.browser import checks
from tests.browser.story import browser
from tests.factories import make_account, make_household, make_job, make_node, make_offer, make_user
from tests.test_access_table import PEOPLE, TABLE, Home, signed_in

# Addresses that answer no page to a GET: forms' targets, fragments, files, programs, redirects.
NOT_PAGES = {
    *("api_hub", "api_hubs", "api_install", "api_installs", "api_nothing", "api_openapi"),
    *("audit_csv", "audit_jsonl", "healthz", "readyz", "mfa_download_recovery_codes"),
    *("hubs_live", "hub_live", "install_live", "batch_live", "home_assistant_live"),
    *("hubs_check", "hub_check", "hub_file_ask", "install_ask_again", "install_cancel"),
    *("proposal_withdraw", "proposal_link", "batch_stop", "batch_go_on", "account_forget"),
    "account_try",
    *("language", "household_choose", "household_support", "server_person_act", "member_role"),
    *("invitation_withdraw", "home_assistant_test", "token_revoke", "notification_test"),
    *("notification_service_remove", "account_signup", "account_email", "account_set_password"),
    *("account_email_verification_sent", "account_confirm_email", "account_confirm_login_code"),
    *("mfa_authenticate", "mfa_reauthenticate_webauthn", "mfa_login_webauthn"),
    *("hub_file", "welcome", "mfa_remove_webauthn", "mfa_edit_webauthn"),
}
# Each page is walked through on both, on a phone in the language with the longest words; its
# colours are looked at in the other scheme as well.
# Without motion: a colour that is still changing is no colour to judge.
LOOKS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "has_touch": True,
        "locale": "de-DE",
    },
}
# The pages must also fit these: the narrowest screen, and the narrowest that gets tables.
WIDTHS = (320, 961)
# Forms that are sent empty, to see their errors; the others would change what the next page shows.
SENT_EMPTY = {
    *("account_link", "account_reconnect", "household_new", "people", "tokens", "notifications"),
    *("notification_service_new", "server_person_new", "server_household_new", "account_login"),
    *("account_change_password", "account_reset_password", "mfa_activate_totp", "home_assistant"),
}


# What the console says of pages that are meant to be refused, and of a date that is none.
EXPECTED = ("the server responded with a status of 4", "does not conform to the required format")


class Visit:
    """One page as one person sees it."""

    def __init__(self, name: str, path: str, who: str) -> None:
        self.name, self.path, self.who = name, path, who


def furnish(home: Home) -> list[Visit]:
    """Add every state a hub and an install can be in; return the pages that show them."""
    visits = []
    now = timezone.now()
    for state in State:
        node = make_node(home.account, name=f"Porch {state.label}")
        job = make_job(
            node,
            state=state,
            ended_at=None if state in {"requested", "pushing", "running"} else now,
            pushed_at=now - timedelta(minutes=2),
            cloud_word="in-progress",
            cloud_info="Downloaded 40% Firmware Image",
        )
        visits += [
            Visit(f"install {state}", f"/installs/{job.pk}/", "owner"),
            Visit(f"receipt {state}", f"/installs/{job.pk}/receipt/", "owner"),
            Visit(f"hub {state}", f"/hubs/{node.pk}/", "owner"),
        ]
    offline = make_node(home.account, name="Far away", is_online=False)
    make_offer(offline)
    make_node(home.account, name="Never checked", checked_at=None, fw_version="", is_online=None)
    out = make_account(home.household, email="out@example.com", state=AccountState.SIGNED_OUT)
    make_offer(make_node(out, name="Signed out"))
    Channel.objects.update(
        trouble="The mail server did not take it (SMTPDataError).", trouble_at=now
    )
    fresh = make_household("New house")
    home.people["newcomer"] = make_user(role=Role.OWNER, household=fresh)
    visits += [Visit(f"hubs {show}", f"/?show={show}", "owner") for show in ("new", "offline")]
    visits += [
        Visit("hubs of support", "/", "support"),
        Visit("hubs of nobody", "/", "homeless"),
        Visit("hubs before the first account", "/", "newcomer"),
        Visit("a search without a hit", "/?q=nowhere-at-all", "owner"),
        Visit("install an offline hub", f"/hubs/{offline.pk}/install/", "owner"),
        Visit("install refused by the role", f"/hubs/{home.hub.pk}/install/", "viewer"),
        Visit("several at once", "/queues/new/?all=1", "owner"),
        Visit("trail asked for nothing", "/audit/?text=nowhere-at-all", "owner"),
        Visit("trail asked for nonsense", "/audit/?since=yesterday", "owner"),
        Visit("not found", "/nowhere/", "owner"),
        Visit("over", "/welcome/nonsense/", "nobody"),
        Visit("no more mails", "/notifications/off/nonsense/", "nobody"),
        Visit("a wrong link", "/decide/nonsense/", "nobody"),
    ]
    return visits


def pages(home: Home, cookies: dict[str, dict[str, str]]) -> list[Visit]:
    """Return every address that answers somebody with a page, as the first one who gets it."""
    found, without = [], set()
    for name in sorted(TABLE):
        path = home.path(name)
        for who in ("owner", "support", "administrator", "homeless", "nobody"):
            client = Client()
            client.cookies.load(cookies[who])
            answer = client.get(path)
            is_page = answer.status_code == 200 and answer["Content-Type"].startswith("text/html")
            if is_page and b"<!doctype html>" in answer.getvalue()[:40].lower():
                found.append(Visit(name, path, who))
                break
        else:
            without.add(name)
    assert without <= NOT_PAGES, f"pages nobody gets to see: {without - NOT_PAGES}"
    assert not {visit.name for visit in found} & NOT_PAGES
    return found


World = tuple[list[Visit], dict[str, dict[str, str]], str]


def furnished(url: str) -> World:
    """Return the visits and everybody's cookies, and where the server is that shows them."""
    home = Home()
    until = timezone.now() + timedelta(days=1)
    Household.objects.filter(pk=home.household.pk).update(support_until=until)
    more = furnish(home)
    cookies = {who: fresh(home, who) for who in (*PEOPLE, "newcomer")}
    return [*pages(home, cookies), *more], cookies, url


def fresh(home: Home, who: str) -> dict[str, str]:
    """Return the cookies of somebody who has just shown the password once more."""
    user = home.people.get(who.replace("ungranted", "support"))
    found = signed_in(user)
    if user is not None:
        client = Client()
        client.cookies.load(found)
        session = client.session
        methods = session.get("account_authentication_methods", [])
        methods = [*methods, {"method": "password", "at": time.time(), "reauthenticated": True}]
        session["account_authentication_methods"] = methods
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    return found


def rooms(
    opened: Browser, url: str, cookies: dict[str, dict[str, str]], look: dict[str, Any]
) -> dict[str, BrowserContext]:
    """Return a browser context for each person, signed in."""
    found = {}
    for who, jar in cookies.items():
        room = opened.new_context(base_url=url, reduced_motion="reduce", **look)
        room.add_init_script(checks.LISTEN)
        room.add_cookies([{"name": name, "value": jar[name], "url": url} for name in jar])
        found[who] = room
    return found


def keep(page: Page, name: str, other: Literal["light", "dark"]) -> None:
    """Take the page's picture in both colour schemes, where `make pictures` says it is kept."""
    if not (folder := os.environ.get("PICTURES")):
        return
    mine: Literal["light", "dark"] = "dark" if other == "light" else "light"
    for scheme in (other, mine):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=Path(folder) / f"{name}-{scheme}.png", full_page=True)


def walk(world: World, chromium: str, look: str) -> None:
    """Look at every page so; what is wrong with any of them is told together at the end."""
    visits, cookies, url = world
    troubles: list[str] = []
    with sync_playwright() as playwright, browser(playwright, chromium) as opened:
        people = rooms(opened, url, cookies, LOOKS[look])
        tabs, listening = {}, [True]  # what the checks themselves stir up does not count
        for who, room in people.items():
            page = tabs[who] = room.new_page()
            page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
            page.on(
                "console",
                lambda said: (
                    troubles.append(f"console: {said.text} {said.location['url']}")
                    if listening[0]
                    and said.type in {"error", "warning"}
                    and not any(words in said.text for words in EXPECTED)
                    else None
                ),
            )
        other: Literal["light", "dark"] = "light" if look == "phone" else "dark"
        for visit in visits:
            page = tabs[visit.who]
            listening[0] = True
            page.goto(visit.path)
            assert page.locator("h1").count() == 1, visit.name
            keep(page, f"{visit.name}-{look}", other)
            found = checks.refused(page)
            listening[0] = False
            found += checks.accessibility(page)
            found += checks.contrast(page, other)
            found += checks.keyboard(page)
            for width in WIDTHS if look == "phone" else ():
                found += checks.fits(page, width)
            troubles += [f"{visit.name}: {one}" for one in found]
        # without a mail server there is no form for a forgotten password
        with override_settings(HAS_MAIL_SERVER=True):
            for visit in visits:
                if visit.name not in SENT_EMPTY:
                    continue
                page = tabs[visit.who]
                page.goto(visit.path)
                listening[0] = True
                form = page.locator("main form[method=post]").first
                with page.expect_navigation():
                    form.evaluate("(form) => { form.noValidate = true; form.requestSubmit(); }")
                keep(page, f"{visit.name} sent empty-{look}", other)
                found = checks.refused(page)
                listening[0] = False
                found += checks.accessibility(page)
                found += checks.contrast(page, other)
                found += checks.keyboard(page) if look == "desk" else []
                troubles += [f"{visit.name}, sent empty: {one}" for one in found]
    assert not troubles, "\n".join(sorted(set(troubles)))
