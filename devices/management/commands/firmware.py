"""Firmware from a terminal or a script: the same verbs, policies and audit as the pages."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices import installs
from devices.confirm import bind
from devices.models import Node, OtaJob, State, User
from devices.policies import Right, jobs_for, may, nodes_for, why_not_install
from devices.sync import ask_check
from devices.templatetags.show import roughly, size
from devices.terminal.people import acting, actor_of
from devices.terminal.words import (
    EXIT,
    EXIT_INTERRUPTED,
    EXIT_NOT_CONFIRMED,
    EXIT_NOTHING_NEW,
    EXIT_REFUSED,
    EXIT_STILL_RUNNING,
    EXIT_TABLE,
    as_json,
    hub_values,
    job_values,
    plain,
)
from devices.terminal.work import wait_until

CHECK_LIMIT_S = 60


class Command(BaseCommand):
    help = "List hubs, check for firmware, install it, watch and look back."

    def create_parser(self, *args: Any, **options: Any) -> Any:
        return super().create_parser(
            *args, formatter_class=RawDescriptionHelpFormatter, epilog=EXIT_TABLE, **options
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)

        def verb(name: str, words: str) -> ArgumentParser:
            one = verbs.add_parser(
                name, help=words, epilog=EXIT_TABLE, formatter_class=RawDescriptionHelpFormatter
            )
            one.add_argument("--as", dest="person", metavar="EMAIL", help="who acts")
            one.add_argument("--json", action="store_true", help="one JSON object a line")
            return one

        verb("list", "every hub you may see")
        check = verb("check", "ask the cloud for new firmware, and wait for the answer")
        check.add_argument("hub", nargs="*", help="name, serial number or node id; all without one")
        install = verb("install", "check, show, ask, install, and follow to the verdict")
        install.add_argument("hub")
        install.add_argument("--yes", action="store_true", help="confirm without being asked")
        install.add_argument("--timeout", type=float, default=7200, help="seconds to follow (7200)")
        watch = verb("watch", "follow the newest install of a hub, or an install by number")
        watch.add_argument("what", help="hub or number of the install")
        watch.add_argument("--timeout", type=float, default=7200, help="seconds to follow (7200)")
        history = verb("history", "installs, newest first")
        history.add_argument("hub", nargs="?")
        history.add_argument("--limit", type=int, default=20)

    def handle(self, *args: Any, **options: Any) -> None:
        self.is_json = bool(options["json"])
        self.user = acting(options["person"])
        status = getattr(self, f"do_{options['verb']}")(options)
        if status:
            sys.exit(status)

    def say(self, text: str) -> None:
        """Print a line for a person; nothing when programs read."""
        if not self.is_json:
            self.stdout.write(text)
            self.stdout.flush()

    def tell(self, values: dict[str, Any]) -> None:
        """Print a line for a program."""
        if self.is_json:
            self.stdout.write(as_json(values))
            self.stdout.flush()

    def do_list(self, options: dict[str, Any]) -> int:
        for node in nodes_for(self.user).present().for_list().order_by("name", "pk"):
            self.tell(hub_values(node))
            self.say(_line(node))
        return 0

    def do_check(self, options: dict[str, Any]) -> int:
        named = [find_hub(self.user, name) for name in options["hub"]]
        nodes = named or list(nodes_for(self.user, Right.CHECK).present().for_list())
        self._check(nodes)
        for node in nodes_for(self.user).filter(pk__in=[n.pk for n in nodes]).for_list():
            self.tell(hub_values(node))
            self.say(_line(node))
        return 0

    def _check(self, nodes: list[Node]) -> None:
        by_household: dict[int, list[Node]] = {}
        for node in nodes:
            household = node.account.household
            if not may(self.user, Right.CHECK, household):
                raise CommandError(f"Your role in {household} does not let you ask for a check.")
            by_household.setdefault(household.pk, []).append(node)
        asked = sum(
            ask_check(mine, actor=actor_of(self.user, mine[0].account.household))
            for mine in by_household.values()
        )
        if not asked:
            raise CommandError("No cloud account of these hubs is signed in; reconnect it first.")
        waiting = Node.objects.filter(pk__in=[n.pk for n in nodes], check_asked_at__isnull=False)
        if not wait_until(lambda: not waiting.exists(), limit_s=CHECK_LIMIT_S, loop="chores"):
            raise CommandError("The cloud has not answered; the check goes on by itself.")

    def do_install(self, options: dict[str, Any]) -> int:
        node = find_hub(self.user, options["hub"])
        self._check([node])
        node = find_hub(self.user, node.node_id)
        offer = node.offer
        if offer is None or offer.fw_version == node.fw_version:
            words = node.check_trouble_text or f"{plain(node)} is up to date ({node.fw_version})."
            self.say(words)
            self.tell({**hub_values(node), "is_over": True, "headline": words})
            return EXIT_NOTHING_NEW
        reasons = why_not_install(self.user, node, offer, timezone.now())
        if reasons:
            return self._refused(installs.Refused(reasons))
        binding = bind(node, offer)
        usual = installs.typical(node.model, offer.fw_version)
        self.say(f"{plain(node)}: {node.fw_version or '?'} -> {offer.fw_version}")
        self.say(f"  {plain(offer.description) or 'no description'}")
        self.say(f"  {size(offer.size_bytes)}, MD5 {offer.md5 or 'not given'}")
        if usual.typical:
            self.say(f"  usually {roughly(usual.typical)} here, at most {roughly(usual.slowest)}")
        if node.is_in_use:
            self.say("  The hub is in use right now; it does not repel while it restarts.")
        self.tell(hub_values(node))
        if not options["yes"] and not _agrees(f"Install {offer.fw_version} now? (y/n) "):
            self.say("Nothing was sent.")
            self.tell({"is_over": True, "headline": "Not confirmed; nothing was sent."})
            return EXIT_NOT_CONFIRMED
        try:
            job = installs.request(
                user=self.user,
                node=node,
                binding=binding,
                actor=actor_of(self.user, node.account.household),
            )
        except installs.Refused as refused:
            return self._refused(refused)
        return self._follow(job, options["timeout"])

    def _refused(self, refused: installs.Refused) -> int:
        self.tell(
            {
                "is_over": True,
                "headline": "Nothing was sent.",
                "reasons": [{"code": r.code, "sentence": r.sentence} for r in refused.reasons],
            }
        )
        if not self.is_json:
            self.stderr.write(f"Nothing was sent. {refused}")
        return EXIT_REFUSED

    def do_watch(self, options: dict[str, Any]) -> int:
        what = options["what"]
        job = jobs_for(self.user).filter(pk=int(what)).first() if what.isdigit() else None
        if job is None:
            job = find_hub(self.user, what).latest_job
        if job is None:
            raise CommandError("Nothing was installed on this hub from here.")
        return self._follow(job, options["timeout"])

    def _follow(self, job: OtaJob, limit_s: float) -> int:
        seen: set[object] = set()

        def news() -> None:
            job.refresh_from_db()
            for report in job.reports.all():
                if not report.is_before_push and ("report", report.pk) not in seen:
                    seen.add(("report", report.pk))
                    self.say(
                        f"  {_time(report.heard_at)} {plain(report.word)}: {plain(report.info)}"
                    )
                    self.tell(
                        {
                            "report": report.sequence,
                            "word": report.word,
                            "info": report.info,
                            "percent": report.percent,
                            "heard_at": report.heard_at,
                        }
                    )
            if ("state", job.state, job.pushes) not in seen:
                seen.add(("state", job.state, job.pushes))
                self.say(f"  {_time(job.state_at)} {State(job.state).label}")
                if job.is_live:
                    self.tell({"job": job.pk, "state": job.state, "at": job.state_at})

        def is_over() -> bool:
            return not OtaJob.objects.live().filter(pk=job.pk).exists()

        try:
            is_done = wait_until(is_over, limit_s=limit_s, loop="installs", news=news)
        except KeyboardInterrupt:
            self.stderr.write(f"\nThe install goes on. Watch it: manage.py firmware watch {job.pk}")
            return EXIT_INTERRUPTED
        job.refresh_from_db()
        values = job_values(job)
        self.say(f"{values['headline']} {values['what']}\n{values['is_safe']} {values['todo']}")
        self.say(f"Support code {values['support_code']}, install {job.pk}.")
        self.tell(values)
        return EXIT[job.state] if is_done else EXIT_STILL_RUNNING

    def do_history(self, options: dict[str, Any]) -> int:
        jobs = jobs_for(self.user).for_list()
        if options["hub"]:
            jobs = jobs.filter(node=find_hub(self.user, options["hub"]))
        for job in jobs[: options["limit"]]:
            self.tell(job_values(job))
            self.say(
                f"{job.pk:>6}  {job.requested_at:%Y-%m-%d %H:%M}  {plain(job.hub_name):<24} "
                f"{job.from_version} -> {job.to_version}  {State(job.state).label}"
                f"  by {plain(job.requested_by_name)}"
            )
        return 0


def find_hub(user: User, name: str) -> Node:
    """Return the one hub of this person with that node id, serial number or name."""
    mine = nodes_for(user).present().for_list()
    for wanted in ({"node_id": name}, {"serial__iexact": name}, {"name__iexact": name}):
        found = list(mine.filter(**wanted)[:5])
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{plain(node)} ({node.node_id})" for node in found)
            raise CommandError(f"Several hubs are called that; name one by its node id: {ids}.")
    names = ", ".join(plain(node) for node in mine.order_by("name")[:10]) or "none"
    raise CommandError(f"You have no hub that is called {plain(name)}. Yours: {names}.")


def _line(node: Node) -> str:
    offer = node.offer
    online = {True: "online", False: "offline", None: "?"}[node.is_online]
    new = (
        f"-> {offer.fw_version}" if offer and offer.fw_version != node.fw_version else "up to date"
    )
    trouble = f"  ({plain(node.check_trouble_text)})" if node.check_trouble else ""
    return (
        f"{plain(node):<24} {plain(node.model):<16} {node.fw_version or '?':<10} {new:<14} "
        f"{online}{trouble}"
    )


def _agrees(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _time(at: Any) -> str:
    return f"{timezone.localtime(at):%H:%M:%S}"
