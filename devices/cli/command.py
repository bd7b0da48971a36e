"""Base of the terminal commands: verbs, options and exit status."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import OperationalError, ProgrammingError

from devices.cli import lookup
from devices.cli.acting import acting
from devices.cli.console import Console
from devices.cli.errors import EXIT_TABLE, CommandEnd, Exit
from devices.cli.waiting import Work
from devices.models import Household, User


class TerminalCommand(BaseCommand):
    """Calls do_<verb>(options), which returns the exit status or raises CommandEnd."""

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
        """Return the subparsers that verbs are added to."""
        return parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(self, verbs: Any, name: str, words: str, *, acts: bool = True) -> ArgumentParser:
        """Add a verb; with acts, it takes --as for the acting person."""
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
            status = int(getattr(self, f"do_{options['verb'].replace('-', '_')}")(options))
        except CommandEnd as end:
            status = self._end(end)
        except KeyboardInterrupt:
            status = self._end(CommandEnd(Exit.INTERRUPTED, "Interrupted.", event="interrupted"))
        if self.console.is_unheard:
            status = status or Exit.UNHEARD
        if status:
            sys.exit(status)

    def home(self, options: dict[str, Any]) -> Household | None:
        """Return the household given with --household, if any."""
        name = options["household"]
        return lookup.household(self.user, name) if name is not None else None

    def _end(self, end: CommandEnd) -> int:
        self.console.hint(str(end))
        for line in end.also.splitlines():
            self.console.hint(line)
        self.console.tell(end.event, sentence=str(end), exit_status=int(end.status), **end.facts)
        return int(end.status)


def _require_tables() -> None:
    try:
        User.objects.exists()
    except (OperationalError, ProgrammingError) as problem:
        raise CommandEnd(
            1,
            f"The database of {settings.DATA_DIR} cannot be used yet "
            f"({str(problem).splitlines()[0]}). Is your data in another folder, as that of the "
            "demo is? Then put it before the command: DATA_DIR=var/demo. The first start of the "
            "product makes the tables, and so does `manage.py migrate`.",
        ) from problem
