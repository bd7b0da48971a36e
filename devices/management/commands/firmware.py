"""Firmware from a terminal or a script: the same verbs, policies and audit as the pages."""

from argparse import ArgumentParser
from itertools import groupby
from typing import Any, cast

from django.utils import timezone

from devices import installs
from devices.confirm import BindingError, bind, read_binding, sign
from devices.explain import explain_trouble
from devices.hubwords import one_line
from devices.images import is_verifiable
from devices.models import Household, Node, Offer, OtaJob
from devices.policies import Right, jobs_for, why_not_install
from devices.sync import ask_check
from devices.templatetags.show import roughly, size
from devices.terminal import choose
from devices.terminal.command import TerminalCommand
from devices.terminal.ends import Ended, Exit
from devices.terminal.facts import hub_values, job_values, offer_values
from devices.terminal.follow import Following, page_of
from devices.terminal.people import actor_of, require
from devices.views.access import households_of
from devices.views.listing import Attention, hubs_of
from devices.views.standing import of_hub, of_job

CHECK_LIMIT_S = 120
# These make a check pointless, whatever it would find.
HOPELESS = {"hub_gone", "account_unlinked", "signed_out", "job_running"}


class Command(TerminalCommand):
    help = "List hubs, check for new firmware, install it, watch installs and look back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = self.verbs(parser)
        hub: dict[str, Any] = {"metavar": "HUB", "help": "name, serial number or node id"}
        self.verb(verbs, "list", "every hub that the acting person may see")

        check = self.verb(verbs, "check", "ask the cloud for new firmware and wait for the answer")
        check.add_argument("hubs", nargs="*", **hub)
        check.add_argument("--all", action="store_true", help="all hubs, as without any HUB")
        _add_timeout(check, f"for the answers ({CHECK_LIMIT_S})", CHECK_LIMIT_S)

        install = self.verb(
            verbs, "install", "check, show what is offered, ask, install, follow to the verdict"
        )
        install.add_argument("hub", **hub)
        install.add_argument("--yes", action="store_true", help="confirm without being asked")
        _add_timeout(install, "for the verdict (until there is one)", None)

        watch = self.verb(verbs, "watch", "follow an install to its verdict")
        watch.add_argument(
            "what", metavar="HUB|NUMBER", help="number of the install, or a hub: its newest one"
        )
        _add_timeout(watch, "for the verdict (until there is one)", None)

        history = self.verb(verbs, "history", "installs, the newest first")
        history.add_argument("hub", nargs="?", **hub)
        history.add_argument("--limit", type=int, default=20, help="how many (20)")

    def do_list(self, options: dict[str, Any]) -> int:
        now, home = timezone.now(), self.home(options)
        nodes = hubs_of(self.user).order_by("name", "pk").for_list()
        if home is not None:
            nodes = nodes.filter(account__household=home)
        rows = [("HUB", "MODEL", "INSTALLED", "OFFERED", "ONLINE", "STATE")]
        for node in nodes:
            attention = Attention(cast(Any, node).attention)
            with timezone.override(node.account.household.zone):
                standing = of_hub(node, attention, now)
            self.console.tell("hub", **hub_values(node), standing=standing.words)
            rows.append((*_row(node), standing.words))
        if len(rows) > 1:
            self.console.table(rows)
        else:
            self.console.say("No hubs here yet.")
        return Exit.DONE

    def do_check(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        if options["hubs"] and options["all"]:
            raise Ended(Exit.NOT_UNDERSTOOD, "Name hubs or say --all, not both.")
        if options["hubs"]:
            nodes = [choose.hub(self.user, text, home) for text in options["hubs"]]
        else:
            nodes = self._all_to_check(home)
        return self._check(nodes, options["timeout"])

    def _all_to_check(self, home: Household | None) -> list[Node]:
        """Return every hub that may be checked; raises Ended when the role allows none of them."""
        may_check = {one.pk for one in households_of(self.user, Right.CHECK)}
        nodes = choose.hubs_of(self.user, home).for_list().order_by("name", "pk")
        chosen = [node for node in nodes if node.account.household_id in may_check]
        if not chosen:
            for node in nodes[:1]:
                require(self.user, Right.CHECK, node.account.household, node)
            raise Ended(Exit.NOTHING_NEW, "There are no hubs to check.")
        return chosen

    def _check(self, nodes: list[Node], limit_s: float | None, *, is_said: bool = True) -> int:
        """Ask for a check of these hubs and wait until each is answered; say what was found."""
        in_order = sorted(nodes, key=lambda node: (node.account.household_id, node.pk))
        by_household = [
            list(group)
            for _, group in groupby(in_order, key=lambda node: node.account.household_id)
        ]
        for mine in by_household:
            require(self.user, Right.CHECK, mine[0].account.household, mine[0])
        for mine in by_household:
            ask_check(mine, actor=actor_of(self.user, mine[0].account.household))
        waiting = {node.pk for node in nodes if node.account.is_linked}
        unasked = [node for node in nodes if node.pk not in waiting]
        troubled = len(unasked)
        for node in unasked:
            self._say_unasked(node)

        def news() -> None:
            nonlocal troubled
            asked = choose.hubs_of(self.user, None, gone=True).filter(pk__in=waiting)
            answered = asked.filter(check_asked_at__isnull=True)
            for node in answered.for_list().order_by("name", "pk"):
                waiting.discard(node.pk)
                troubled += bool(node.check_trouble)
                if is_said:
                    self.console.tell("hub", **hub_values(node))
                    self.console.say(_found(node))
            if waiting:
                self.console.live(f"Waiting for the cloud's answer about {_hubs(len(waiting))}")

        is_done = self.work.until(lambda: not waiting, loop="chores", limit_s=limit_s, news=news)
        if not is_done and not self.console.is_unheard:
            raise Ended(
                Exit.GOES_ON,
                f"The cloud has not answered about {_hubs(len(waiting))} yet. "
                f"{self._why_late(nodes)}",
                event="timeout",
                waiting=len(waiting),
            )
        status = Exit.NO_ANSWER if troubled else Exit.DONE
        if is_said:
            self.console.tell(
                "checked", hubs=len(nodes), troubled=troubled, exit_status=int(status)
            )
        return status

    def _say_unasked(self, node: Node) -> None:
        told = explain_trouble("signed_out")
        self.console.tell("unasked", hub=str(node), node_id=node.node_id, headline=told.headline)
        self.console.hint(f"{node.marked_name}: {told.headline} {told.todo}")

    def _why_late(self, nodes: list[Node]) -> str:
        for account in {node.account_id: node.account for node in nodes}.values():
            account.refresh_from_db()
            if account.trouble:
                told = explain_trouble(account.trouble, account.trouble_text)
                return f"{told.headline} {told.todo}"
        return "The question stands and is answered by the worker."

    def do_install(self, options: dict[str, Any]) -> int:
        try:
            job = self._confirmed(options)
        except KeyboardInterrupt:
            raise Ended(
                Exit.INTERRUPTED, "Interrupted. Nothing was sent.", event="interrupted"
            ) from None
        self.console.say(f"Confirmed as install {job.pk}: {page_of(job)}")
        return Following(job, self.console).to_verdict(self.work, options["timeout"])

    def _confirmed(self, options: dict[str, Any]) -> OtaJob:
        """Check, show, ask and confirm; raises Ended when nothing is to be sent."""
        node = choose.hub(self.user, options["hub"], self.home(options))
        require(self.user, Right.INSTALL, node.account.household, node)
        reasons = why_not_install(self.user, node, node.offer, timezone.now())
        if any(reason.code in HOPELESS for reason in reasons):
            raise _refused([reason for reason in reasons if reason.code in HOPELESS])
        self._check([node], CHECK_LIMIT_S, is_said=False)
        node = choose.hub(self.user, f"hub:{node.pk}")
        offer = node.new_offer
        if node.check_trouble:
            told = explain_trouble(node.check_trouble, node.check_trouble_text)
            raise Ended(
                Exit.NO_ANSWER,
                f"Nothing was sent. {told.headline} {told.todo} (support code {told.code})",
                event="refused",
                **hub_values(node),
            )
        if offer is None:
            raise Ended(
                Exit.NOTHING_NEW,
                f"There is no new firmware for {one_line(node.marked_name)}; it runs "
                f"{one_line(node.fw_version) or 'a version that is not known'}.",
                event="nothing_new",
                **hub_values(node),
            )
        agreed = sign(bind(node, offer))
        self._show(node, offer)
        is_possible = not why_not_install(self.user, node, offer, timezone.now())
        question = f"Install {one_line(offer.fw_version)} on {one_line(node.marked_name)}?"
        if is_possible and not options["yes"] and not self.console.agrees(question):
            raise Ended(
                Exit.NOT_CONFIRMED, "Not confirmed. Nothing was sent.", event="not_confirmed"
            )
        return self._request(node, agreed)

    def _request(self, node: Node, agreed: str) -> OtaJob:
        """Confirm what was shown, as the page's form does; refusals go into the trail."""
        node = Node.objects.select_related("account__household").get(pk=node.pk)
        before = node.latest_job
        try:
            return installs.request(
                user=self.user,
                node=node,
                binding=read_binding(agreed),
                actor=actor_of(self.user, node.account.household),
                retry_of=before if before is not None and not before.is_live else None,
            )
        except BindingError as problem:
            raise Ended(Exit.REFUSED, str(problem), event="refused") from problem
        except installs.Refused as refused:
            raise _refused(refused.reasons) from refused

    def _show(self, node: Node, offer: Offer) -> None:
        """Say all that is agreed to."""
        usual = installs.typical(node.model, offer.fw_version)
        self.console.tell(
            "offer",
            hub=str(node),
            node_id=node.node_id,
            household=node.account.household.name,
            from_version=node.fw_version,
            **offer_values(offer),
            is_online=node.is_online,
            is_in_use=node.is_in_use,
            usually_s=usual.typical,
        )
        if usual.typical is not None:
            lasts = (
                f"{roughly(usual.typical)}, at most {roughly(usual.slowest)} so far "
                f"({usual.verified} of {usual.count} installs like this were verified here)"
            )
        else:
            lasts = "a few minutes; this version was not installed on such a hub here before"
        facts = {
            "Hub": f"{node.marked_name}, serial {node.serial or 'not known'}",
            "Household": str(node.account.household),
            "From": node.fw_version or "not known",
            "To": offer.fw_version,
            "What is new": offer.description or "The cloud gives no description.",
            "Size": size(offer.size_bytes),
            "MD5": _checksum(offer.md5),
            "Cloud job": offer.ota_job_id,
            "Usually": lasts,
            "Meanwhile": "The hub does not repel while it restarts. Keep it plugged in.",
        }
        if node.is_in_use:
            facts["In use now"] = f"Somebody may be outside: it is {node.get_repellent_display()}."
        for name, value in facts.items():
            self.console.say(f"  {name:<12} {one_line(value, 4000)}")

    def do_watch(self, options: dict[str, Any]) -> int:
        job = choose.install(self.user, options["what"], self.home(options))
        job = jobs_for(self.user).select_related("node__account", "household").get(pk=job.pk)
        return Following(job, self.console).to_verdict(self.work, options["timeout"])

    def do_history(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        jobs = jobs_for(self.user).for_list()
        if options["hub"]:
            jobs = jobs.filter(node=choose.hub(self.user, options["hub"], home, gone=True))
        elif home is not None:
            jobs = jobs.filter(household=home)
        rows = [("NUMBER", "WHEN", "HUB", "FROM", "TO", "VERDICT", "BY")]
        for job in jobs[: max(0, options["limit"])]:
            self.console.tell("install", **job_values(job))
            rows.append(
                (
                    str(job.pk),
                    f"{job.requested_at.astimezone(job.household.zone):%Y-%m-%d %H:%M}",
                    job.marked_name,
                    job.from_version or "?",
                    job.to_version,
                    of_job(job).words,
                    job.requested_by_name,
                )
            )
        if len(rows) > 1:
            self.console.table(rows)
        else:
            self.console.say("Nothing was installed from here yet.")
        return Exit.DONE


def _add_timeout(parser: ArgumentParser, words: str, default: float | None) -> None:
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=default, help=f"seconds to wait {words}"
    )


def _refused(reasons: list[Any]) -> Ended:
    return Ended(
        Exit.REFUSED,
        f"Nothing was sent. {' '.join(reason.sentence for reason in reasons)}",
        event="refused",
        reasons=[{"code": reason.code, "sentence": reason.sentence} for reason in reasons],
    )


def _row(node: Node) -> tuple[str, str, str, str, str]:
    online = {True: "yes", False: "no", None: "?"}[node.is_online]
    offered = node.offer.fw_version if node.offer is not None else "-"
    return node.marked_name, node.model or "?", node.fw_version or "?", offered, online


def _found(node: Node) -> str:
    """Return what a check found, in one line."""
    runs = one_line(node.fw_version) or "a version that is not known"
    if node.check_trouble:
        told = explain_trouble(node.check_trouble, node.check_trouble_text)
        return f"{one_line(node.marked_name)}: {told.headline} {told.todo}"
    if node.offer is None:
        return f"{one_line(node.marked_name)}: runs {runs}, nothing new"
    return (
        f"{one_line(node.marked_name)}: runs {runs}, {one_line(node.offer.fw_version)} is offered "
        f"({size(node.offer.size_bytes)})"
    )


def _checksum(md5: str) -> str:
    if md5 and not is_verifiable(md5):
        return f"{md5} (no MD5: no file can be checked against it)"
    return md5 or "not given"


def _hubs(count: int) -> str:
    return "one hub" if count == 1 else f"{count} hubs"
