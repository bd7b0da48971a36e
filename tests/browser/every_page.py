"""The walk through every page and state, and what the pages are.

They are those of the access table, which knows every address: a new one cannot escape.
"""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from django.test import override_settings
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from devices.models import AccountState, Channel, Household, Role, State, UpdatePolicy, When
from devices.models.message import Message, MessageCode
from devices.views.profile import _address_token
from tests.browser import checks
from tests.browser.story import browser, picture
from tests.support.client import Client
from tests.support.factories import (
    make_account,
    make_household,
    make_job,
    make_node,
    make_offer,
    make_plan,
    make_user,
)
from tests.test_access_table import PEOPLE, TABLE, Home, signed_in

# Addresses that answer no page to a GET: forms' targets, fragments, files, programs, redirects.
NOT_PAGES = {
    *("api_hub", "api_hubs", "api_install", "api_installs", "api_nothing", "api_openapi"),
    "api_update_policy",
    *("view_save", "view_remove", "hubs_csv", "hubs_jsonl", "history_csv", "history_jsonl"),
    *("audit_csv", "audit_jsonl", "healthz", "readyz", "metrics", "mfa_download_recovery_codes"),
    *("hubs_live", "hub_live", "install_live", "queue_live", "home_assistant_live"),
    *("server_backups_live", "server_backup_new", "server_backup_download"),
    *("planned_live", "plan_start", "plan_cancel", "api_plans", "api_plan", "api_plan_cancel"),
    *(
        "hubs_check",
        "hub_check",
        "hub_carry_over",
        "firmware_request",
        "install_resume",
        "install_cancel",
        "install_seen",
        "install_put_back",
        "hub_dismiss",
        "hub_undismiss",
        "api_dismissal",
        "api_seen",
    ),
    *(
        "propose_several",
        "proposal_withdraw",
        "proposal_link",
        "queue_stop",
        "queue_resume",
        "account_forget",
    ),
    *("account_trial", "audit_verify", "audit_check", "address_mail", "news_seen"),
    *("language", "household_select", "household_support", "server_person_act", "member_role"),
    *("invitation_withdraw", "home_assistant_test", "api_token_revoke", "notification_test"),
    *("notification_service_remove", "account_signup", "account_email", "account_set_password"),
    *("account_email_verification_sent", "account_confirm_email", "account_confirm_login_code"),
    *("calendar_feed", "server_versions"),
    *("mfa_authenticate", "mfa_reauthenticate_webauthn", "mfa_login_webauthn"),
    *("push_add", "push_renew", "push_remove", "push_test", "manifest", "service_worker"),
    *("firmware_download", "setup", "mfa_remove_webauthn", "mfa_edit_webauthn"),
}
VERSION = "/versions/one/?model=thermacell-hub"
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
    *(
        "account_link",
        "account_reconnect",
        "household_new",
        "people",
        "api_tokens",
        "calendar",
        "notifications",
    ),
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
    for number, when in enumerate(When):
        deck = make_offer(make_node(home.account, name=f"Deck {number}")).node
        night = {"window_start": "22:00", "window_end": "05:00"}
        values: dict[str, Any] = night if when in {When.TONIGHT, When.POLICY} else {}
        if when == When.POLICY:
            values |= {"announced_at": now, "not_before": now + timedelta(days=1)}
        make_plan(deck, when=when, **values)
        visits.append(Visit(f"hub planned {when}", f"/hubs/{deck.pk}/", "owner"))
    make_plan(
        make_node(home.account, name="Jetty"),
        state="dropped",
        drop_reason="offer_changed",
        reason=Message.of(MessageCode.OFFER_SWAPPED),
    )
    make_node(home.account, name="Never checked", checked_at=None, fw_version="", is_online=None)
    out = make_account(home.household, email="out@example.com", state=AccountState.SIGNED_OUT)
    make_offer(make_node(out, name="Signed out"))
    Channel.objects.update(
        trouble=Message.of(MessageCode.MAIL_NOT_TAKEN, problem="SMTPDataError"), trouble_at=now
    )
    UpdatePolicy.objects.create(
        household=home.household,
        mode="install",
        waiting_days=0,
        set_by=home.people["owner"],
        set_by_name=home.people["owner"].email,
    )
    fresh = make_household("New house")
    newcomer = make_user(role=Role.OWNER, household=fresh, password_by_link_at=now)
    home.people["newcomer"] = newcomer
    visits += [Visit(f"hubs {show}", f"/?show={show}", "owner") for show in ("new", "offline")]
    visits += [
        Visit("hubs of support", "/", "support"),
        Visit("hubs of no household", "/", "homeless"),
        Visit("hubs before the first account", "/", "newcomer"),
        Visit("factor_code", "/profile/two-step-code/", "newcomer"),
        Visit("address_confirm", f"/profile/address/{_address_token(newcomer)}/", "newcomer"),
        Visit("a search without a hit", "/?q=nowhere-at-all", "owner"),
        Visit("install an offline hub", f"/hubs/{offline.pk}/install/", "owner"),
        Visit("install refused by the role", f"/hubs/{home.hub.pk}/install/", "viewer"),
        Visit("several at once", "/queues/new/?all=1", "owner"),
        Visit("trail asked for nothing", "/audit/?text=nowhere-at-all", "owner"),
        Visit("trail asked for nonsense", "/audit/?since=yesterday", "owner"),
        Visit("version", f"{VERSION}&version=5.3.3", "owner"),
        Visit("version for staff", f"{VERSION}&version=5.3.3", "administrator"),
        Visit("versions side by side", f"{VERSION}&version=5.3.3&with=5.3.2", "owner"),
        Visit("hubs of a week", f"/?version=5.3.2&week={now:%Y-%m-%d}", "owner"),
        Visit("proposals to answer", "/proposals/?show=open", "owner"),
        Visit("plans that wait", "/planned/?waits=look", "owner"),
        Visit("not found", "/nowhere/", "owner"),
        Visit("over", "/welcome/nonsense/", "nobody"),
        Visit("no more mails", "/notifications/off/nonsense/", "nobody"),
        Visit("a wrong link", "/decide/nonsense/", "nobody"),
        Visit("a wrong link of a policy", "/not-this-one/nonsense/", "nobody"),
        Visit("update policy of a viewer", home.path("update_policy"), "viewer"),
        Visit("a night that is over", "/not-tonight/nonsense/", "nobody"),
    ]
    return visits


def pages(home: Home, cookies: dict[str, dict[str, str]], others: list[Visit]) -> list[Visit]:
    """Return every address that answers with a page, as the first one who gets it.

    `others` are visits to pages that only open in a state of their own.
    """
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
    unseen = without - NOT_PAGES - {visit.name for visit in others}
    assert not unseen, f"pages no person gets to see: {unseen}"
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
    return [*pages(home, cookies, more), *more], cookies, url


def fresh(home: Home, who: str) -> dict[str, str]:
    """Return the cookies of a person who has just confirmed the password."""
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
        picture(page, Path(folder) / f"{name}-{scheme}.png")


def walk(world: World, chromium: str, look: str) -> None:
    """Visit every page like this and report all problems together at the end."""
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
                lambda line: (
                    troubles.append(f"console: {line.text} {line.location['url']}")
                    if listening[0]
                    and line.type in {"error", "warning"}
                    and not any(words in line.text for words in EXPECTED)
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
