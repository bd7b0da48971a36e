"""Firmware from a terminal or a script, with the same rules and audit trail as the pages."""

from argparse import ArgumentParser
from itertools import groupby
from typing import Any

from django.utils import timezone

from devices.cli import lookup
from devices.cli.acting import actor_of, require
from devices.cli.command import TerminalCommand
from devices.cli.errors import CommandEnd, Exit
from devices.cli.follow import Following
from devices.explanations.cloud_messages import TroubleCode
from devices.explanations.explain import explain_trouble
from devices.explanations.reasons import ReasonCode
from devices.fleet.attention import count, hubs_of
from devices.fleet.checks import ask_check
from devices.fleet.looking import note_look
from devices.installs import requests as install_requests
from devices.installs import statistics
from devices.installs.confirmation import SnapshotError, read_snapshot, sign, snapshot_offer
from devices.installs.eligibility import why_not_install
from devices.models import Household, Node, Offer, OtaJob, Plan, database_clock
from devices.models.attention import Attention
from devices.models.firmware_file import is_verifiable
from devices.models.text import one_line
from devices.permissions import (
    Right,
    cached_answers,
    households_of,
    jobs_for,
    mask_people,
    plans_for,
)
from devices.planning import dismissals, planner
from devices.planning.plans import PlanError, Timing, confirm, read_timing, why_not_plan
from devices.planning.policies import policy_of
from devices.presentation import headlines
from devices.presentation.badges import of_hub, of_job
from devices.presentation.formatting import roughly, size
from devices.presentation.hold_text import why_held
from devices.presentation.policy_data import UpdatePolicyData
from devices.presentation.serializers import HubData, InstallData, PlanData, page_of, values_of

CHECK_LIMIT_S = 120
# With these reasons a check would not help.
HOPELESS = {
    ReasonCode.HUB_GONE,
    ReasonCode.ACCOUNT_UNLINKED,
    ReasonCode.SIGNED_OUT,
    ReasonCode.JOB_RUNNING,
    ReasonCode.DISMISSED,
}


class FirmwareCommand(TerminalCommand):
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
        install.add_argument(
            "--when",
            default="now",
            metavar="MOMENT",
            help="now, tonight, idle (when it is next not in use), online (when it is back), or a "
            "time such as 2026-12-05T02:00 on the household's clock; planned, it is not followed",
        )
        _add_timeout(install, "for the verdict (until there is one)", None)

        self.verb(verbs, "plans", "the installs that start later, and what each waits for")
        cancel = self.verb(verbs, "cancel-plan", "cancel the plan of a hub")
        cancel.add_argument("hub", **hub)

        self.verb(verbs, "policy", "the update policy of each household, and what it would do")

        watch = self.verb(verbs, "watch", "follow an install to its verdict")
        watch.add_argument(
            "what", metavar="HUB|NUMBER", help="number of the install, or a hub: its newest one"
        )
        _add_timeout(watch, "for the verdict (until there is one)", None)

        dismiss = self.verb(verbs, "dismiss", "do not offer this version any more, or undo that")
        dismiss.add_argument("hub", **hub)
        dismiss.add_argument(
            "--everywhere", action="store_true", help="on every hub of the household"
        )
        dismiss.add_argument("--undo", action="store_true", help="offer it again")

        seen = self.verb(verbs, "seen", "mark how an install ended as seen, or undo that")
        seen.add_argument(
            "what", metavar="HUB|NUMBER", help="number of the install, or a hub: its newest one"
        )
        seen.add_argument("--undo", action="store_true", help="it needs attention again")

        history = self.verb(verbs, "history", "installs, the newest first")
        history.add_argument("hub", nargs="?", **hub)
        history.add_argument("--limit", type=int, default=20, help="how many (20)")

    def do_list(self, options: dict[str, Any]) -> int:
        now, home = timezone.now(), self.home(options)
        nodes = hubs_of(self.user).order_by("name", "pk").for_list()
        if home is not None:
            nodes = nodes.filter(account__household=home)
        note_look({node.account.household for node in nodes}, now)
        rows = [("HUB", "MODEL", "INSTALLED", "OFFERED", "ONLINE", "STATE")]
        for node in nodes:
            attention = Attention(node.attention)
            with timezone.override(node.account.household.zone):
                standing = of_hub(node, attention, now)
            self.console.tell("hub", **values_of(HubData.of(node)), badge=standing.words)
            rows.append((*_row(node), standing.words))
        if len(rows) > 1:
            self.console.table(rows)
            counts = count(hubs_of(self.user, home.pk if home is not None else None))
            self.console.hint(headlines.of_counts(counts))
        else:
            self.console.say("No hubs here yet.")
        return Exit.DONE

    def do_check(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        if options["hubs"] and options["all"]:
            raise CommandEnd(Exit.NOT_UNDERSTOOD, "Name hubs or say --all, not both.")
        if options["hubs"]:
            nodes = [lookup.hub(self.user, text, home) for text in options["hubs"]]
        else:
            nodes = self._all_to_check(home)
        return self._check(nodes, options["timeout"])

    def _all_to_check(self, home: Household | None) -> list[Node]:
        """Return every hub that may be checked; raises CommandEnd when there is none."""
        may_check = {one.pk for one in households_of(self.user, Right.CHECK)}
        nodes = lookup.hubs_of(self.user, home).for_list().order_by("name", "pk")
        chosen = [node for node in nodes if node.account.household_id in may_check]
        if not chosen:
            for node in nodes[:1]:
                require(self.user, Right.CHECK, node.account.household, node)
            raise CommandEnd(Exit.NOTHING_NEW, "There are no hubs to check.")
        return chosen

    def _check(self, nodes: list[Node], limit_s: float | None, *, is_said: bool = True) -> int:
        """Request a check of these hubs, wait for each answer and print it."""
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
            asked = lookup.hubs_of(self.user, None, gone=True).filter(pk__in=waiting)
            answered = asked.filter(check_asked_at__isnull=True)
            for node in answered.for_list().order_by("name", "pk"):
                waiting.discard(node.pk)
                troubled += bool(node.check_trouble)
                if is_said:
                    self.console.tell("hub", **values_of(HubData.of(node)))
                    self.console.say(_found(node))
            if waiting:
                self.console.live(f"Waiting for the cloud's answer about {_hubs(len(waiting))}")

        is_done = self.work.until(lambda: not waiting, loop="chores", limit_s=limit_s, news=news)
        if not is_done and not self.console.is_unheard:
            raise CommandEnd(
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
        explained = explain_trouble(TroubleCode.SIGNED_OUT)
        self.console.tell("unasked", **values_of(HubData.of(node)), headline=explained.headline)
        self.console.hint(f"{node.marked_name}: {explained.headline} {explained.todo}")

    def _why_late(self, nodes: list[Node]) -> str:
        for account in {node.account_id: node.account for node in nodes}.values():
            account.refresh_from_db()
            if account.trouble:
                explained = explain_trouble(account.trouble, account.trouble_text)
                return f"{explained.headline} {explained.todo}"
        return "The question stands and is answered by the worker."

    def do_install(self, options: dict[str, Any]) -> int:
        try:
            job = self._confirmed(options)
            if isinstance(job, Plan):
                return self._planned(job)
        except KeyboardInterrupt:
            raise CommandEnd(
                Exit.INTERRUPTED, "Interrupted. Nothing was sent.", event="interrupted"
            ) from None
        self.console.say(f"Confirmed as install {job.pk}: {page_of('install', job.pk)}")
        return Following(job, self.console).to_verdict(self.work, options["timeout"])

    def _planned(self, plan: Plan) -> int:
        """Print what was planned."""
        with timezone.override(plan.household.zone):
            data = PlanData.of(plan)
        self.console.tell("plan", **values_of(data), exit_status=int(Exit.DONE))
        self.console.say(f"Planned: {data.starts}. {data.page}")
        return Exit.DONE

    def do_plans(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        plans = plans_for(self.user, home.pk if home is not None else None).waiting().for_list()
        rows = [("HUB", "FROM", "TO", "STARTS", "WAITS FOR", "BY")]
        with cached_answers(self.user):
            listed = [mask_people(self.user, plan, plan.household_id) for plan in plans]
        for plan in listed:
            with timezone.override(plan.household.zone):
                data = PlanData.of(plan)
            self.console.tell("plan", **values_of(data))
            who = data.planned_by
            versions = data.from_version or "?", data.to_version
            rows.append((plan.marked_name, *versions, data.starts, data.reason or "", who))
        if len(rows) > 1:
            self.console.table(rows)
        else:
            self.console.say("Nothing is planned.")
        return Exit.DONE

    def do_policy(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        rows = [("HOUSEHOLD", "RULE", "HUB", "WOULD INSTALL", "WHY NOT")]
        for household in [home] if home is not None else households_of(self.user):
            policy = mask_people(self.user, policy_of(household), household.pk)
            with timezone.override(household.zone):
                data = UpdatePolicyData.of(policy, database_clock.now())
            self.console.tell("update_policy", **values_of(data))
            for hub in data.hubs:
                would, why = "yes" if hub.would_install else "no", hub.reason or ""
                why = why or " ".join(data.stopped)
                rows.append((data.household, data.mode, hub.hub_name, would, why))
        self.console.table(rows)
        return Exit.DONE

    def do_cancel_plan(self, options: dict[str, Any]) -> int:
        node = lookup.hub(self.user, options["hub"], self.home(options), gone=True)
        household = node.account.household
        require(self.user, Right.INSTALL, household, node)
        plan = Plan.objects.waiting().loaded().filter(node=node).first()
        if plan is None:
            raise CommandEnd(
                Exit.NOTHING_NEW, f"Nothing is planned for {one_line(node.marked_name)}."
            )
        try:
            actor = actor_of(self.user, household)
            planner.cancel(plan, user=self.user, actor=actor, now=database_clock.now())
        except PlanError as problem:
            raise CommandEnd(Exit.REFUSED, str(problem), event="refused") from problem
        self.console.say(f"Cancelled. Nothing starts on {one_line(node.marked_name)}.")
        return Exit.DONE

    def _confirmed(self, options: dict[str, Any]) -> OtaJob | Plan:
        """Check, show, ask and confirm; raises CommandEnd when nothing is to be sent."""
        node = lookup.hub(self.user, options["hub"], self.home(options))
        require(self.user, Right.INSTALL, node.account.household, node)
        try:
            timing = read_timing(options["when"], node.account.household, database_clock.now())
        except PlanError as problem:
            raise CommandEnd(Exit.NOT_UNDERSTOOD, f"Nothing was planned. {problem}") from problem
        reasons = why_not_install(self.user, node, node.offer)
        if any(reason.code in HOPELESS for reason in reasons):
            raise _refused([reason for reason in reasons if reason.code in HOPELESS])
        self._check([node], CHECK_LIMIT_S, is_said=False)
        node = lookup.hub(self.user, f"hub:{node.pk}")
        offer = node.new_offer
        if node.check_trouble:
            explained = explain_trouble(node.check_trouble, node.check_trouble_text)
            raise CommandEnd(
                Exit.NO_ANSWER,
                f"Nothing was sent. {explained.headline} {explained.todo} "
                f"(support code {explained.code})",
                event="refused",
                **values_of(HubData.of(node)),
            )
        if offer is None:
            raise CommandEnd(
                Exit.NOTHING_NEW,
                f"There is no new firmware for {one_line(node.marked_name)}; it runs "
                f"{one_line(node.fw_version) or 'a version that is not known'}.",
                event="nothing_new",
                **values_of(HubData.of(node)),
            )
        agreed = sign(snapshot_offer(node, offer))
        self._show(node, offer)
        what = f"{one_line(offer.fw_version)} on {one_line(node.marked_name)}"
        if timing is None:
            question, is_possible = f"Install {what}?", not why_not_install(self.user, node, offer)
        else:
            binding = snapshot_offer(node, offer)
            is_possible = not why_not_plan(self.user, node, binding)
            question = f"Plan to install {what}: {options['when']}?"
        if is_possible and not options["yes"] and not self.console.agrees(question):
            raise CommandEnd(
                Exit.NOT_CONFIRMED, "Not confirmed. Nothing was sent.", event="not_confirmed"
            )
        return self._request(node, agreed, timing)

    def _request(self, node: Node, agreed: str, timing: Timing | None) -> OtaJob | Plan:
        """Confirm what was shown, as the page's form does; refusals go into the trail."""
        node = Node.objects.select_related("account__household").get(pk=node.pk)
        actor = actor_of(self.user, node.account.household)
        try:
            return confirm(node, read_snapshot(agreed), timing, user=self.user, actor=actor)
        except SnapshotError as problem:
            raise CommandEnd(Exit.REFUSED, str(problem), event="refused") from problem
        except install_requests.Refused as refused:
            raise _refused(refused.reasons) from refused

    def _show(self, node: Node, offer: Offer) -> None:
        """Print everything that is confirmed."""
        usual = statistics.typical(node.model, offer.fw_version, node.account.household)
        self.console.tell("offer", **values_of(HubData.of(node)), usually_s=usual.typical)
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
            "From": node.fw_version or "unknown",
            "To": offer.fw_version,
            "What's new": offer.description or "No description.",
            "Size": size(offer.size_bytes),
            "MD5": _checksum(offer.md5),
            "Cloud job": offer.ota_job_id,
            "Usually": lasts,
            "Meanwhile": "The hub does not repel while it restarts. Keep it plugged in.",
        }
        if held := why_held(node, offer.fw_version):
            facts["Held"] = f"{held} You can still install it."
        if node.is_in_use:
            facts["In use now"] = f"People may be outside: it is {node.get_repellent_display()}."
        for name, value in facts.items():
            self.console.say(f"  {name:<12} {one_line(value, 4000)}")

    def do_watch(self, options: dict[str, Any]) -> int:
        job = lookup.install(self.user, options["what"], self.home(options))
        job = jobs_for(self.user).select_related("node__account", "household").get(pk=job.pk)
        return Following(job, self.console).to_verdict(self.work, options["timeout"])

    def do_dismiss(self, options: dict[str, Any]) -> int:
        node = lookup.hub(self.user, options["hub"], self.home(options))
        require(self.user, Right.INSTALL, node.account.household, node)
        actor = actor_of(self.user, node.account.household)
        name = one_line(node.marked_name)
        if options["undo"]:
            undone = dismissals.undo_all(node, actor=actor)
            if not undone:
                raise CommandEnd(Exit.NOTHING_NEW, f"Nothing is dismissed on {name}.")
            is_wide = any(dismissal.node_id is None for dismissal in undone)
            where = f"Every hub of {node.account.household}" if is_wide else name
            self.console.say(f"{where} is offered {_offered(node)} again.")
            return Exit.DONE
        if node.offer is None:
            raise CommandEnd(Exit.NOTHING_NEW, f"There is no new firmware for {name}.")
        everywhere, version = options["everywhere"], node.offer.fw_version
        try:
            dismissals.dismiss(node, version, user=self.user, actor=actor, everywhere=everywhere)
        except dismissals.DismissalError as problem:
            raise CommandEnd(Exit.NOTHING_NEW, str(problem)) from problem
        where = f"any hub of {node.account.household}" if everywhere else name
        self.console.say(f"{one_line(version)} is not offered on {where} any more.")
        return Exit.DONE

    def do_seen(self, options: dict[str, Any]) -> int:
        job = lookup.install(self.user, options["what"], self.home(options))
        require(self.user, Right.INSTALL, job.household, job.node)
        mark = dismissals.mark_unseen if options["undo"] else dismissals.mark_seen
        try:
            mark(job, actor=actor_of(self.user, job.household))
        except dismissals.DismissalError as problem:
            raise CommandEnd(Exit.REFUSED, str(problem), event="refused") from problem
        self.console.say(f"Install {job.pk} is {'not ' * options['undo']}marked as seen.")
        return Exit.DONE

    def do_history(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        jobs = jobs_for(self.user).for_list()
        if options["hub"]:
            jobs = jobs.filter(node=lookup.hub(self.user, options["hub"], home, gone=True))
        elif home is not None:
            jobs = jobs.filter(household=home)
        rows = [("NUMBER", "WHEN", "HUB", "FROM", "TO", "VERDICT", "BY")]
        for job in jobs[: max(0, options["limit"])]:
            self.console.tell("install", **values_of(InstallData.of(job)))
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
            self.console.say("No installs yet.")
        return Exit.DONE


def _add_timeout(parser: ArgumentParser, words: str, default: float | None) -> None:
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=default, help=f"seconds to wait {words}"
    )


def _refused(reasons: list[Any]) -> CommandEnd:
    return CommandEnd(
        Exit.REFUSED,
        f"Nothing was sent. {' '.join(reason.sentence for reason in reasons)}",
        event="refused",
        reasons=[{"code": reason.code, "sentence": reason.sentence} for reason in reasons],
    )


def _row(node: Node) -> tuple[str, str, str, str, str]:
    online = {True: "yes", False: "no", None: "?"}[node.is_online]
    return node.marked_name, node.model or "?", node.fw_version or "?", _offered(node), online


def _offered(node: Node) -> str:
    return one_line(node.offer.fw_version) if node.offer is not None else "-"


def _found(node: Node) -> str:
    """Return what a check found, in one line."""
    runs = one_line(node.fw_version) or "a version that is not known"
    if node.check_trouble:
        explained = explain_trouble(node.check_trouble, node.check_trouble_text)
        return f"{one_line(node.marked_name)}: {explained.headline} {explained.todo}"
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
