"""The frame of a terminal command: its verbs, its options, and how it ends."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, cast

from django.core.management.base import BaseCommand
from django.db import OperationalError, ProgrammingError

from devices.models import Household, User
from devices.terminal import choose
from devices.terminal.console import Console
from devices.terminal.ends import EXIT_TABLE, Ended, Exit
from devices.terminal.people import acting
from devices.terminal.work import Work


class TerminalCommand(BaseCommand):
    """Calls do_<verb>(options), which returns the exit status or raises Ended."""

    requires_system_checks: list[str] = []
    console: Console
    work: Work
    user: User

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        return super().create_parser(
            prog_name,
            subcommand,
            formatter_class=RawDescriptionHelpFormatter,
            epilog=EXIT_TABLE,
            **options,
        )

    def verbs(self, parser: ArgumentParser) -> Any:
        """Return what verbs are added to."""
        return parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(self, verbs: Any, name: str, words: str, *, acts: bool = True) -> ArgumentParser:
        """Add a verb; acts: a person of the product does it."""
        parser = cast(
            ArgumentParser,
            verbs.add_parser(
                name,
                help=words,
                description=f"{words[0].upper()}{words[1:]}.",
                epilog=EXIT_TABLE,
                formatter_class=RawDescriptionHelpFormatter,
            ),
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help='one JSON object a line, each with its "event"; times are UTC. What ends with a '
            "status says so in the last one's \"exit_status\"; an install's last one is the "
            '"verdict" with its witnesses',
        )
        if acts:
            parser.add_argument(
                "--as",
                dest="person",
                metavar="EMAIL",
                help="who acts, with their rights; without it the server's only owner",
            )
            parser.add_argument(
                "--household", metavar="NAME", help="name or number, where there are several"
            )
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        # the bare streams: Django's wrappers end every piece with a line break
        out, err = cast(Any, self.stdout)._out, cast(Any, self.stderr)._out
        self.console = Console(out, err, is_json=bool(options["json"]))
        self.work = Work(self.console)
        try:
            _require_tables()
            if "person" in options:
                self.user = acting(options["person"])
            status = int(getattr(self, f"do_{options['verb']}")(options))
        except Ended as end:
            status = self._end(end)
        except KeyboardInterrupt:
            status = self._end(Ended(Exit.INTERRUPTED, "Interrupted.", event="interrupted"))
        if self.console.is_unheard:
            status = status or Exit.UNHEARD
        if status:
            sys.exit(status)

    def home(self, options: dict[str, Any]) -> Household | None:
        """Return the household that was named, if one was."""
        name = options["household"]
        return choose.household(self.user, name) if name is not None else None

    def _end(self, end: Ended) -> int:
        self.console.hint(str(end))
        for line in end.also.splitlines():
            self.console.hint(line)
        self.console.tell(end.event, sentence=str(end), exit_status=int(end.status), **end.facts)
        return int(end.status)


def _require_tables() -> None:
    try:
        User.objects.exists()
    except (OperationalError, ProgrammingError) as problem:
        raise Ended(
            1,
            f"The database cannot be used yet ({str(problem).splitlines()[0]}). "
            "`manage.py migrate` makes its tables.",
        ) from problem
