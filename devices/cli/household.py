"""Set up people and households without a browser; passwords come from the input.

People who may run commands on the server do this, not users of the product: the trail names the
server's account. All verbs are safe to repeat.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from devices.audit import log as audit_log
from devices.cli import lookup
from devices.cli.acting import operator
from devices.cli.command import TerminalCommand
from devices.cli.console import read_password
from devices.cli.errors import CommandEnd, Exit
from devices.households import members, password_links, staff
from devices.models import Household, Membership, Role, StaffRole, User
from devices.models.text import clean_name

WHY = "a person with access to this server's terminal"
NO_STAFF = "none"


class HouseholdCommand(TerminalCommand):
    help = "Set up households and people; a new person's password comes from standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = self.verbs(parser)
        new = "who is created if new, with the password that is typed or the first line of input"
        create = self.verb(verbs, "create", f"a household and its owner, {new}", acts=False)
        create.add_argument("household", metavar="NAME")
        create.add_argument("--owner", dest="email", required=True, metavar="EMAIL")
        create.add_argument("--name", default="", help="the owner's name, where new")
        create.add_argument(
            "--time-zone", default=settings.TIME_ZONE, help=f"such as Europe/Berlin ({_default()})"
        )
        add = self.verb(verbs, "add", f"a person to a household, {new}", acts=False)
        add.add_argument("household", metavar="HOUSEHOLD", help="name or number")
        add.add_argument("--email", required=True)
        add.add_argument("--name", default="", help="the person's name, where new")
        add.add_argument(
            "--role",
            choices=[role.value for role in Role],
            default=Role.MEMBER.value,
            help="member without it; someone who belongs already gets the new role",
        )
        remove = self.verb(verbs, "remove", "a person from a household", acts=False)
        remove.add_argument("household", metavar="HOUSEHOLD", help="name or number")
        remove.add_argument("--email", required=True)
        role = f"a person's role across households, {new}"
        staff_verb = self.verb(verbs, "staff", role, acts=False)
        staff_verb.add_argument("email", metavar="EMAIL")
        staff_verb.add_argument("--name", default="", help="the person's name, where new")
        for parser in (create, staff_verb):
            parser.add_argument(
                "--confirm-address",
                action="store_true",
                help="you checked that this person's sign-in belongs to the owner of the address",
            )
        roles = [role.value for role in StaffRole if role.value]
        staff_verb.add_argument("--role", required=True, choices=[*roles, NO_STAFF])
        words = "a link with which a person sets a new password"
        link = self.verb(verbs, "password", words, acts=False)
        link.add_argument("email", metavar="EMAIL")
        self.verb(verbs, "list", "households and their people", acts=False)

    def do_create(self, options: dict[str, Any]) -> int:
        name = clean_name(options["household"])
        if not name or len(name) > 120:
            raise CommandEnd(Exit.NOT_UNDERSTOOD, "A household's name has 1 to 120 letters.")
        if options["time_zone"] not in available_timezones():
            raise CommandEnd(
                Exit.NOT_UNDERSTOOD,
                f"{options['time_zone']} is no time zone; one looks like Europe/Berlin.",
            )
        found = [one for one in Household.objects.all() if one.name.casefold() == name.casefold()]
        if found:
            return self._created_before(found, options["email"])
        user = self._person(options)
        with audit_log.locked(), _membership_errors():
            self._save_new(user)
            self._confirm(user, options)
            household = members.create_household(
                name=name, time_zone=options["time_zone"], owner=user, actor=operator(), why=WHY
            )
        return self._say(household, user, Role.OWNER, is_changed=True)

    def _created_before(self, found: list[Household], email: str) -> int:
        owned = Membership.objects.filter(
            household__in=found, role=Role.OWNER, user__email__iexact=email.strip()
        ).select_related("user", "household")
        membership = owned.first()
        if membership is None:
            raise CommandEnd(
                Exit.REFUSED,
                f"There is a household called {found[0].name} already (number {found[0].pk}), and "
                f"{email} is not its owner.",
                event="refused",
            )
        return self._say(membership.household, membership.user, Role.OWNER, is_changed=False)

    def do_add(self, options: dict[str, Any]) -> int:
        household, role = lookup.any_household(options["household"]), Role(options["role"])
        user = self._person(options)
        with audit_log.locked(), _membership_errors():
            self._save_new(user)
            is_changed = members.add(household, user, role, actor=operator(), why=WHY)
        return self._say(household, user, role, is_changed=is_changed)

    def do_remove(self, options: dict[str, Any]) -> int:
        household = lookup.any_household(options["household"])
        memberships = Membership.objects.filter(household=household).select_related("user")
        membership = memberships.filter(user__email__iexact=options["email"].strip()).first()
        if membership is None:
            names = ", ".join(one.user.email for one in memberships) or "none"
            raise CommandEnd(
                Exit.NOT_UNDERSTOOD,
                f"{options['email']} does not belong to {household}. Those who do: {names}.",
            )
        with _membership_errors():
            members.remove(household, membership.user, actor=operator(), why=WHY)
        return self._say(household, membership.user, "", is_changed=True)

    def do_staff(self, options: dict[str, Any]) -> int:
        role = StaffRole("" if options["role"] == NO_STAFF else options["role"])
        user = self._person(options)
        with audit_log.locked(), _membership_errors():
            self._save_new(user)
            self._confirm(user, options)
            is_changed = staff.set_staff_role(user, role, actor=operator(), why=WHY)
        self.console.say(f"{user.email}: {StaffRole(role).label.lower()}.")
        self.console.tell(
            "staff", email=user.email, role=role, is_changed=is_changed, exit_status=0
        )
        return Exit.DONE

    def do_password(self, options: dict[str, Any]) -> int:
        email = options["email"].strip()
        user = User.objects.filter(email__iexact=email, is_active=True).first()
        if user is None:
            raise CommandEnd(Exit.NOT_UNDERSTOOD, f"{email} cannot sign in here.")
        path = password_links.make_path(
            user,
            maker=password_links.BY_TERMINAL,
            actor=operator(),
            households=list(user.households.all()),
            why=WHY,
        )
        hours = password_links.VALID_FOR.seconds // 3600
        self.console.say(f"Open within {hours} hours, once: {settings.PUBLIC_URL}{path}")
        self.console.tell("password_link", email=user.email, exit_status=0)
        return Exit.DONE

    def do_list(self, options: dict[str, Any]) -> int:
        households = Household.objects.order_by("name", "pk").prefetch_related("memberships__user")
        rows = [("NUMBER", "HOUSEHOLD", "TIME ZONE", "PERSON", "ROLE")]
        for household in households:
            people = sorted(
                household.memberships.all(), key=lambda one: (Role.values.index(one.role), one.pk)
            )
            self.console.tell(
                "household",
                household=household.name,
                number=household.pk,
                time_zone=household.time_zone,
                people=[{"email": one.user.email, "role": one.role} for one in people],
            )
            head = (str(household.pk), household.name, household.time_zone)
            rows += [(*head, one.user.email, one.role) for one in people] or [(*head, "-", "-")]
        if len(rows) > 1:
            self.console.table(rows)
        else:
            self.console.say("There is no household yet.")
        return Exit.DONE

    def _person(self, options: dict[str, Any]) -> User:
        """Return the person with this e-mail address; one who is new is not saved yet.

        A password is typed outside of any transaction.
        """
        email = options["email"].strip().lower()
        user = User.objects.filter(email__iexact=email).first()
        if user is not None:
            return user
        new = User(email=email, name=clean_name(options["name"]))
        try:
            new.full_clean(exclude=["password"])
            password = read_password(
                f"A password for {email} here, at least 12 characters", is_new=True
            )
            validate_password(password, new)
        except ValidationError as problem:
            words = " ".join(problem.messages)
            raise CommandEnd(Exit.NOT_UNDERSTOOD, f"{email} was not created. {words}") from problem
        new.set_password(password)
        return new

    def _confirm(self, user: User, options: dict[str, Any]) -> None:
        if user.is_address_unproven and options["confirm_address"]:
            staff.confirm_address(user, actor=operator(), why=WHY)

    def _save_new(self, user: User) -> None:
        if user.pk is None:
            staff.save_new(user, actor=operator(), why=WHY)

    def _say(self, household: Household, user: User, role: str, *, is_changed: bool) -> int:
        stands = f"{role} of" if role else "no longer in"
        already = "" if is_changed else " already"
        self.console.say(f"{user.email} is{already} {stands} {household} (number {household.pk}).")
        self.console.tell(
            "member",
            household=household.name,
            number=household.pk,
            email=user.email,
            role=role,
            is_changed=is_changed,
            exit_status=0,
        )
        return Exit.DONE


@contextmanager
def _membership_errors() -> Iterator[None]:
    """End the command with the sentence of a MembershipError."""
    try:
        yield
    except members.MembershipError as problem:
        raise CommandEnd(Exit.REFUSED, str(problem), event="refused") from problem


def _default() -> str:
    return settings.TIME_ZONE.replace("%", "%%")
