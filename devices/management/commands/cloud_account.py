"""Link, list and unlink cloud accounts without a browser; the password comes from the input."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devices.cloud.errors import CloudError
from devices.models import AccountState, CloudAccount
from devices.policies import Right, accounts_for, may
from devices.sync import link_account, unlink_account
from devices.terminal.people import acting, actor_of, household_named, read_secret
from devices.terminal.words import as_json, plain
from devices.terminal.work import wait_until

FIRST_LOOK_LIMIT_S = 120


class Command(BaseCommand):
    help = "Link a cloud account (password from standard input), list and unlink them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for name, words in (
            ("link", "sign in to a cloud and link the account, or sign in again"),
            ("list", "every cloud account of your households"),
            ("unlink", "wipe the tokens and stop asking; history stays"),
        ):
            verb = verbs.add_parser(name, help=words)
            verb.add_argument("--as", dest="person", metavar="EMAIL", help="who acts")
            verb.add_argument("--json", action="store_true", help="one JSON object a line")
            verb.add_argument("--household", help="name or number")
            if name != "list":
                verb.add_argument("--email", required=True, help="the cloud account's e-mail")
                verb.add_argument("--url", default=settings.DEFAULT_CLOUD_URL, help="the cloud")
            if name == "link":
                verb.add_argument(
                    "--no-wait", action="store_true", help="do not wait for the first look"
                )

    def handle(self, *args: Any, **options: Any) -> None:
        self.is_json = bool(options["json"])
        self.user = acting(options["person"])
        getattr(self, f"do_{options['verb']}")(options)

    def do_link(self, options: dict[str, Any]) -> None:
        household = household_named(options["household"], self.user)
        if not may(self.user, Right.MANAGE, household):
            raise CommandError(f"Your role in {household} does not let you manage cloud accounts.")
        password = read_secret(f"Password of {options['email']} at the cloud: ")
        if not password:
            raise CommandError("No password came; give it on standard input.")
        try:
            account = link_account(
                household=household,
                base_url=options["url"],
                email=options["email"],
                password=password,
                actor=actor_of(self.user, household),
            )
        except CloudError as problem:
            raise CommandError(f"Not linked: {problem}") from problem
        if not options["no_wait"]:
            hubs = account.nodes.filter(gone_at__isnull=True)

            def is_known() -> bool:
                account.refresh_from_db()
                return account.synced_at is not None and not hubs.filter(checked_at=None).exists()

            if not wait_until(is_known, limit_s=FIRST_LOOK_LIMIT_S, loop="chores"):
                raise CommandError("Linked, but the cloud has not listed all hubs yet.")
        self._show(account)

    def do_list(self, options: dict[str, Any]) -> None:
        for account in accounts_for(self.user):
            self._show(account)

    def do_unlink(self, options: dict[str, Any]) -> None:
        url = options["url"].rstrip("/")
        found = [
            account
            for account in accounts_for(self.user, Right.MANAGE)
            if account.email.lower() == options["email"].lower() and account.base_url == url
        ]
        if len(found) != 1:
            raise CommandError("You manage no such cloud account; `cloud_account list` shows them.")
        unlink_account(found[0], actor=actor_of(self.user, found[0].household))
        self._show(found[0])

    def _show(self, account: CloudAccount) -> None:
        hubs = account.nodes.filter(gone_at__isnull=True).count()
        if self.is_json:
            values = {
                "account": account.pk,
                "email": account.email,
                "cloud": account.base_url,
                "household": account.household.name,
                "state": account.state,
                "hubs": hubs,
                "trouble": account.trouble,
            }
            self.stdout.write(as_json(values))
        else:
            state = AccountState(account.state).label
            self.stdout.write(
                f"{plain(account.email):<32} {account.cloud_host:<28} "
                f"{plain(account.household):<20} {state}, {hubs} hubs"
            )
