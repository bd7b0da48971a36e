"""Link, list and unlink cloud accounts without a browser; the password comes from the input."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from devices.accounts.linking import link_account, unlink_account
from devices.cli import lookup
from devices.cli.acting import actor_of, require
from devices.cli.command import TerminalCommand
from devices.cli.console import read_password
from devices.cli.errors import CommandEnd, Exit
from devices.explanations.error_codes import error_code
from devices.explanations.explain import explain_trouble
from devices.forms.accounts import LinkForm
from devices.models import AccountState, CloudAccount, Household, OtaJob
from devices.permissions import Right, accounts_for
from devices.presentation.serializers import AccountData, HubData, values_of
from devices.rainmaker.errors import CloudError, SignInAgain

FIRST_LOOK_LIMIT_S = 180


class CloudAccountCommand(TerminalCommand):
    help = "Link a cloud account (its password from standard input), list and unlink accounts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = self.verbs(parser)
        link = self.verb(
            verbs,
            "link",
            "sign in to a cloud, or again, and wait until its hubs are known; the password is "
            "asked for, or is the first line of standard input",
        )
        link.add_argument("--email", required=True, help="e-mail address of the cloud account")
        link.add_argument("--url", default="", help="another cloud than this server's usual one")
        link.add_argument(
            "--keep-password",
            action="store_true",
            help="keep the password, encrypted, and sign in again with it when the session ends",
        )
        link.add_argument("--no-wait", action="store_true", help="leave its hubs to the worker")
        link.add_argument(
            "--timeout",
            type=float,
            metavar="S",
            default=FIRST_LOOK_LIMIT_S,
            help=f"seconds to wait for its hubs ({FIRST_LOOK_LIMIT_S})",
        )
        self.verb(verbs, "list", "every linked cloud account")
        unlink = self.verb(verbs, "unlink", "wipe the tokens and stop asking; history stays")
        unlink.add_argument("--email", required=True, help="e-mail address of the cloud account")
        unlink.add_argument("--url", default="", help="its cloud, where there are several")
        unlink.add_argument("--yes", action="store_true", help="confirm without being asked")

    def do_link(self, options: dict[str, Any]) -> int:
        home = lookup.household(self.user, options["household"])
        require(self.user, Right.MANAGE, home)
        began = timezone.now()
        account = self._link(home, options)
        if options["no_wait"]:
            self.console.say(
                f"Linked {account.email} at {account.cloud_host}. The worker reads its hubs."
            )
        else:
            self._wait_for_hubs(account, began, options["timeout"])
        self.console.tell("linked", **_values(account), exit_status=0)
        return Exit.DONE

    def _link(self, home: Household, options: dict[str, Any]) -> CloudAccount:
        password = read_password(f"Password of {options['email']} at the cloud")
        values = {
            "household_id": home.pk,
            "email": options["email"],
            "password": password,
            "cloud": options["url"].strip().rstrip("/"),
            "keep_password": options["keep_password"],
        }
        form = LinkForm(values, households=[home])
        if not form.is_valid():
            words = " ".join(str(words) for errors in form.errors.values() for words in errors)
            raise CommandEnd(Exit.NOT_UNDERSTOOD, f"Not linked. {words}")
        try:
            return link_account(
                household=home,
                base_url=form.base_url(),
                email=form.cleaned_data["email"],
                password=password,
                keep_password=form.cleaned_data["keep_password"],
                actor=actor_of(self.user, home),
            )
        except CloudError as problem:
            explained = explain_trouble(error_code(problem), str(problem))
            raise CommandEnd(
                Exit.REFUSED if isinstance(problem, SignInAgain) else Exit.NO_ANSWER,
                f"Not linked. {explained.headline} {explained.todo}",
                event="refused",
                trouble=error_code(problem),
                support_code=explained.code,
            ) from problem

    def _wait_for_hubs(self, account: CloudAccount, began: Any, limit_s: float) -> None:
        """Wait until the account was read and each of its hubs checked, and print the result."""
        hubs = account.nodes.filter(gone_at__isnull=True)
        unchecked = hubs.filter(checked_at=None, check_trouble="")

        def is_known() -> bool:
            account.refresh_from_db()
            is_read = account.synced_at is not None and account.synced_at >= began
            return not account.is_linked or (is_read and not unchecked.exists())

        def news() -> None:
            if self.console.is_live:
                self.console.live(f"{hubs.count()} hubs found, {unchecked.count()} to be checked")

        is_done = self.work.until(is_known, loop="chores", limit_s=limit_s, news=news)
        if not is_done or not account.is_linked:
            explained = explain_trouble(account.any_trouble, account.trouble_text)
            why = f"{explained.headline} {explained.todo}" if account.any_trouble else ""
            raise CommandEnd(
                Exit.GOES_ON,
                f"Linked, but not all of its hubs are known yet. {why}".rstrip(),
                event="timeout",
                **_values(account),
            )
        rows = [("HUB", "SERIAL", "INSTALLED", "OFFERED")]
        for node in hubs.for_list().order_by("name", "pk"):
            self.console.tell("hub", **values_of(HubData.of(node)))
            offered = node.offer.fw_version if node.offer is not None else "-"
            rows.append((str(node), node.serial or "?", node.fw_version or "?", offered))
        count = len(rows) - 1
        self.console.say(
            f"Linked {account.email} at {account.cloud_host}: "
            f"{'one hub' if count == 1 else f'{count} hubs'}."
        )
        if count:
            self.console.table(rows)

    def do_list(self, options: dict[str, Any]) -> int:
        home = self.home(options)
        rows = [("E-MAIL", "CLOUD", "HOUSEHOLD", "STATE", "HUBS", "TROUBLE")]
        for account in accounts_for(self.user):
            is_elsewhere = home is not None and account.household_id != home.pk
            if is_elsewhere or account.is_unlinked:
                continue
            hubs = _hubs(account)
            self.console.tell("account", **values_of(AccountData.of(account, hubs)))
            explained = explain_trouble(account.any_trouble, account.trouble_text)
            rows.append(
                (
                    account.email,
                    account.cloud_host,
                    account.household.name,
                    str(AccountState(account.state).label),
                    str(hubs),
                    explained.headline if account.any_trouble else "-",
                )
            )
        if len(rows) > 1:
            self.console.table(rows)
        else:
            self.console.say("No cloud account is linked yet.")
        return Exit.DONE

    def do_unlink(self, options: dict[str, Any]) -> int:
        url = options["url"].strip().rstrip("/")
        account = lookup.account(self.user, options["email"], url, self.home(options))
        require(self.user, Right.MANAGE, account.household)
        hubs = _hubs(account)
        running = OtaJob.objects.live().filter(node__account=account).count()
        self.console.say(
            f"Its tokens are wiped and its cloud is asked no more about {hubs} "
            f"hub{'' if hubs == 1 else 's'}; the history stays."
        )
        if running:
            self.console.hint(f"Installs that run now and will not be followed: {running}.")
        question = f"Unlink {account.email} at {account.cloud_host}?"
        if not options["yes"] and not self.console.agrees(question):
            raise CommandEnd(
                Exit.NOT_CONFIRMED, "Not confirmed. Nothing was changed.", event="not_confirmed"
            )
        unlink_account(account, actor=actor_of(self.user, account.household))
        self.console.say("Unlinked.")
        self.console.tell("unlinked", **values_of(AccountData.of(account, hubs)), exit_status=0)
        return Exit.DONE


def _values(account: CloudAccount) -> dict[str, Any]:
    return values_of(AccountData.of(account, _hubs(account)))


def _hubs(account: CloudAccount) -> int:
    return account.nodes.filter(gone_at__isnull=True).count()
