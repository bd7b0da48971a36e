"""Set up people and households without a browser; passwords come from the input.

Whoever may run commands on the server does this, not a person of the product: the trail names the
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
from django.db import transaction

from devices import people
from devices.hubwords import one_line
from devices.models import Household, Membership, Role, StaffRole, User, audit
from devices.terminal import choose
from devices.terminal.command import TerminalCommand
from devices.terminal.console import read_password
from devices.terminal.ends import Ended, Exit
from devices.terminal.people import operator

WHY = "somebody with access to this server's terminal"
NO_STAFF = "none"


class Command(TerminalCommand):
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
        staff = self.verb(verbs, "staff", f"a person's role across households, {new}", acts=False)
        staff.add_argument("email", metavar="EMAIL")
        staff.add_argument("--name", default="", help="the person's name, where new")
        roles = [role.value for role in StaffRole if role.value]
        staff.add_argument("--role", required=True, choices=[*roles, NO_STAFF])
        self.verb(verbs, "list", "households and their people", acts=False)

    def do_create(self, options: dict[str, Any]) -> int:
        name = one_line(options["household"], 200)
        if not name or len(name) > 120:
            raise Ended(Exit.NOT_UNDERSTOOD, "A household's name has 1 to 120 letters.")
        if options["time_zone"] not in available_timezones():
            raise Ended(
                Exit.NOT_UNDERSTOOD,
                f"{options['time_zone']} is no time zone; one looks like Europe/Berlin.",
            )
        found = [one for one in Household.objects.all() if one.name.casefold() == name.casefold()]
        if found:
            return self._created_before(found, options["email"])
        user = self._person(options)
        with transaction.atomic():
            audit.lock()
            self._save_new(user)
            household = people.create_household(
                name=name,
                time_zone=options["time_zone"],
                owner=user,
                actor=operator(),
                why=WHY,
            )
        return self._say(household, user, Role.OWNER, is_changed=True)

    def _created_before(self, found: list[Household], email: str) -> int:
        owned = Membership.objects.filter(
            household__in=found, role=Role.OWNER, user__email__iexact=email.strip()
        ).select_related("user", "household")
        membership = owned.first()
        if membership is None:
            raise Ended(
                Exit.REFUSED,
                f"There is a household called {found[0].name} already (number {found[0].pk}), and "
                f"{email} is not its owner.",
                event="refused",
            )
        return self._say(membership.household, membership.user, Role.OWNER, is_changed=False)

    def do_add(self, options: dict[str, Any]) -> int:
        household, role = choose.any_household(options["household"]), Role(options["role"])
        user = self._person(options)
        with transaction.atomic(), _said():
            audit.lock()
            self._save_new(user)
            is_changed = people.add(household, user, role, actor=operator(), why=WHY)
        return self._say(household, user, role, is_changed=is_changed)

    def do_remove(self, options: dict[str, Any]) -> int:
        household = choose.any_household(options["household"])
        memberships = Membership.objects.filter(household=household).select_related("user")
        membership = memberships.filter(user__email__iexact=options["email"].strip()).first()
        if membership is None:
            names = ", ".join(one.user.email for one in memberships) or "nobody"
            raise Ended(
                Exit.NOT_UNDERSTOOD,
                f"{options['email']} does not belong to {household}. Those who do: {names}.",
            )
        with _said():
            people.remove(household, membership.user, actor=operator(), why=WHY)
        return self._say(household, membership.user, "", is_changed=True)

    def do_staff(self, options: dict[str, Any]) -> int:
        role = "" if options["role"] == NO_STAFF else options["role"]
        user = self._person(options)
        with transaction.atomic():
            audit.lock()
            self._save_new(user)
            is_changed = user.staff_role != role
            if is_changed:
                before, user.staff_role = user.staff_role, role
                user.save(update_fields=["staff_role"])
                self._record(
                    None,
                    "person.staff_role",
                    f"{user.email} is {StaffRole(role).label.lower()} now.",
                    {"user_id": user.pk, "role": role, "was": before},
                )
        self.console.say(f"{user.email}: {StaffRole(role).label.lower()}.")
        self.console.tell(
            "staff", email=user.email, role=role, is_changed=is_changed, exit_status=0
        )
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
        new = User(email=email, name=one_line(options["name"]))
        try:
            new.full_clean(exclude=["password"])
            password = read_password(
                f"A password for {email} here, at least 12 characters", is_new=True
            )
            validate_password(password, new)
        except ValidationError as problem:
            words = " ".join(problem.messages)
            raise Ended(Exit.NOT_UNDERSTOOD, f"{email} was not created. {words}") from problem
        new.set_password(password)
        return new

    def _save_new(self, user: User) -> None:
        if user.pk is None:
            user.save()
            words = f"{user.email} may sign in now."
            self._record(None, "person.created", words, {"user_id": user.pk})

    def _record(
        self, household: Household | None, action: str, words: str, detail: dict[str, Any]
    ) -> None:
        audit.record(operator(), action, words, household=household, why=WHY, detail=detail)

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
def _said() -> Iterator[None]:
    """End the command with the sentence when what was asked for is not possible."""
    try:
        yield
    except people.NotPossible as problem:
        raise Ended(Exit.REFUSED, str(problem), event="refused") from problem


def _default() -> str:
    return settings.TIME_ZONE.replace("%", "%%")
