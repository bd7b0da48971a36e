"""Set up people and households without a browser; passwords come from the input."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction

from devices.models import Actor, Household, Membership, Role, User, audit
from devices.terminal.people import read_secret
from devices.terminal.words import as_json, plain

WHY = "somebody with access to this server's terminal"


class Command(BaseCommand):
    help = "Create a household with its owner, add people to it, list both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="a household and its owner")
        create.add_argument("name")
        create.add_argument("--owner", required=True, metavar="EMAIL")
        create.add_argument("--time-zone", default="UTC")
        add = verbs.add_parser("add", help="a person to a household")
        add.add_argument("name")
        add.add_argument("--email", required=True)
        add.add_argument("--role", choices=[str(role) for role in Role], default=Role.MEMBER)
        listing = verbs.add_parser("list", help="households and their people")
        listing.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"do_{options['verb']}")(options)

    def do_create(self, options: dict[str, Any]) -> None:
        if Household.objects.filter(name__iexact=options["name"]).exists():
            raise CommandError(f"There is a household called {options['name']} already.")
        with transaction.atomic():
            household = Household.objects.create(
                name=options["name"], time_zone=options["time_zone"]
            )
            self._join(household, options["owner"], Role.OWNER, "household.created")

    def do_add(self, options: dict[str, Any]) -> None:
        household = Household.objects.filter(name__iexact=options["name"]).first()
        if household is None:
            raise CommandError(f"There is no household called {options['name']}.")
        with transaction.atomic():
            self._join(household, options["email"], options["role"], "household.joined")

    def _join(self, household: Household, email: str, role: str, action: str) -> None:
        user = User.objects.filter(email__iexact=email).first() or self._new(email)
        _, is_new = Membership.objects.get_or_create(
            user=user, household=household, defaults={"role": role}
        )
        if not is_new:
            raise CommandError(f"{user.email} belongs to {household} already.")
        audit.record(
            Actor(name="terminal", role="terminal", via="terminal"),
            action,
            f"{user.email} became {role} of {household}.",
            household=household,
            why=WHY,
            detail={"user_id": user.pk, "role": str(role)},
        )
        self.stdout.write(f"{user.email} is {role} of {plain(household)}.")

    def _new(self, email: str) -> User:
        password = read_secret(f"A password for {email}, at least 12 characters: ")
        try:
            validate_email(email)
            validate_password(password, User(email=email))
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from problem
        return User.objects.create_user(email, password)

    def do_list(self, options: dict[str, Any]) -> None:
        for household in Household.objects.order_by("name").prefetch_related("memberships__user"):
            people = {m.user.email: m.role for m in household.memberships.all()}
            if options["json"]:
                values = {"household": household.name, "id": household.pk, "people": people}
                self.stdout.write(as_json(values))
            else:
                named = ", ".join(f"{email} ({role})" for email, role in people.items())
                self.stdout.write(f"{plain(household):<24} {named}")
