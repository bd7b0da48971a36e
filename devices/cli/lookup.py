"""Find the hub, household, account or install that a command names; never guess."""

from collections.abc import Iterable
from typing import Any

from devices.cli.console import plain
from devices.cli.errors import CommandEnd, Exit
from devices.models import CloudAccount, Household, Node, OtaJob, User
from devices.models.node import NodeQuerySet
from devices.models.parsing import parse_pk
from devices.models.text import one_line
from devices.permissions import Right, accounts_for, households_for, jobs_for, nodes_for

SHOWN = 20


def hubs_of(user: User, household: Household | None, *, gone: bool = False) -> NodeQuerySet:
    """Return this person's hubs, of one household if given."""
    nodes = nodes_for(user) if gone else nodes_for(user).present_once()
    return nodes.filter(account__household=household) if household is not None else nodes


def hub(user: User, text: str, household: Household | None = None, *, gone: bool = False) -> Node:
    """Return the one hub with that node id, serial number or name, or `hub:` and our number.

    Letter case does not matter. A node id counts before a serial number and that before a name,
    so that no hub is mistaken for another that was given its serial number as a name.
    """
    hubs = hubs_of(user, household, gone=gone)
    wanted = _key(text)
    matches: list[set[int]] = [set(), set(), set(), set()]
    for pk, node_id, serial, name in hubs.values_list("pk", "node_id", "serial", "name"):
        for found, is_it in zip(
            matches,
            (
                wanted == f"hub:{pk}",
                text.strip() == node_id,
                wanted == _key(serial),
                wanted == _key(name),
            ),
            strict=True,
        ):
            if is_it and wanted:
                found.add(pk)
    found = next((some for some in matches if some), set())
    if len(found) == 1:
        return hubs.for_list().get(pk=found.pop())
    listed = hubs.filter(pk__in=found) if found else hubs
    candidates = list(listed.select_related("account__household").order_by("name", "pk")[:SHOWN])
    if found:
        raise CommandEnd(
            Exit.NOT_UNDERSTOOD,
            f"More than one hub is called {plain(text)}; say which by its node id, or with "
            "--household or hub:NUMBER:",
            **_told(candidates, listed.count()),
        )
    if not candidates:
        raise CommandEnd(Exit.NOT_UNDERSTOOD, "There are no hubs here yet.", candidates=[])
    raise CommandEnd(
        Exit.NOT_UNDERSTOOD,
        f"No hub is called {plain(text)}. There are:",
        **_told(candidates, listed.count()),
    )


def _told(nodes: list[Node], total: int) -> dict[str, Any]:
    lines = [
        f"  {node.marked_name}  (serial {node.serial or 'not known'}, node id {node.node_id}, "
        f"hub:{node.pk}, {node.account.household})"
        for node in nodes
    ]
    if total > len(nodes):
        lines.append(f"  and {total - len(nodes)} more; `manage.py firmware list` shows all")
    return {
        "also": "\n".join(map(plain, lines)),
        "candidates": [
            {
                "id": node.pk,
                "name": str(node),
                "serial": node.serial or None,
                "node_id": node.node_id,
                "household": node.account.household.name,
            }
            for node in nodes
        ],
    }


def _key(text: str) -> str:
    """Return a name as it is compared: on one line, without letter case."""
    return one_line(text).casefold()


def household(user: User, text: str | None) -> Household:
    """Return this person's household with that name or number; their only one by default."""
    ids = households_for(user)
    all_ = Household.objects.order_by("name", "pk")
    return _one_household(all_ if ids is None else all_.filter(pk__in=ids), text)


def any_household(text: str) -> Household:
    """Return the server's household with that name or number."""
    return _one_household(Household.objects.order_by("name", "pk"), text)


def _one_household(among: Iterable[Household], text: str | None) -> Household:
    households = list(among)
    if text is None:
        found = households
    else:
        wanted = _key(text)
        named = [home for home in households if _key(home.name) == wanted]
        found = named or [home for home in households if str(home.pk) == wanted]
    if len(found) == 1:
        return found[0]
    candidates = [{"id": home.pk, "household": home.name} for home in found or households]
    names = ", ".join(f"{plain(c['household'])} (number {c['id']})" for c in candidates)
    if not households:
        sentence = "There is no household here yet."
    elif text is None:
        sentence = f"Say which household with --household: {names}."
    elif found:
        sentence = f"More than one household is called {plain(text)}; say its number: {names}."
    else:
        sentence = f"No household is called {plain(text)}. There are: {names}."
    raise CommandEnd(Exit.NOT_UNDERSTOOD, sentence, candidates=candidates)


def account(user: User, email: str, base_url: str, home: Household | None) -> CloudAccount:
    """Return the one linked account with that address; base_url "" means at any cloud."""
    mine = [one for one in accounts_for(user, Right.LOOK) if not one.is_unlinked]
    found = [
        one
        for one in mine
        if one.email.casefold() == email.strip().casefold()
        and base_url in ("", one.base_url)
        and (home is None or one.household_id == home.pk)
    ]
    if len(found) == 1:
        return found[0]
    candidates = [
        {"email": one.email, "cloud": one.base_url, "household": one.household.name}
        for one in found or mine
    ]
    listed = "; ".join(f"{c['email']} at {c['cloud']} in {c['household']}" for c in candidates)
    if found:
        sentence = f"More than one account fits; add --url or --household: {listed}."
    else:
        sentence = f"No linked account is called {email}. There are: {listed or 'none'}."
    raise CommandEnd(Exit.NOT_UNDERSTOOD, plain(sentence), candidates=candidates)


def install(user: User, text: str, home: Household | None) -> OtaJob:
    """Return the install with that number, or else the newest one of the hub with that name."""
    number = parse_pk(text.strip().removeprefix("#"))
    if number is not None:
        job = jobs_for(user).filter(pk=number).first()
        if job is not None:
            return job
    node = hub(user, text, home, gone=True)
    if node.latest_job is None:
        raise CommandEnd(Exit.NOT_UNDERSTOOD, f"Nothing was installed on {plain(node)} from here.")
    return node.latest_job
