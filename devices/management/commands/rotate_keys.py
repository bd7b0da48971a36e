"""Change the key that stored secrets are encrypted with, while everything runs."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from devices.cli.acting import operator
from devices.security.key_marks import adopt
from devices.security.key_rotation import RotationError, drop_old, is_under_way, new_key, reseal_all


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret with a new key, while everything runs; --drop-old then "
        "forgets the old ones. Safe to repeat; what was cut off is finished."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--drop-old",
            action="store_true",
            help="make no new key; forget all but the newest, once nothing needs them",
        )
        parser.add_argument(
            "--adopt",
            action="store_true",
            help="change no key; take this server's keys for those that its database belongs to",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["adopt"]:
            changed = adopt(operator())
            known = f"The keys of this server count from now on: {', '.join(changed)}."
            self.stdout.write(known if changed else "They are this server's keys already.")
        elif options["drop_old"]:
            self._drop_old()
        else:
            self._rotate()

    def _rotate(self) -> None:
        ring, actor = settings.KEY_RING, operator()
        if is_under_way():
            self.stdout.write("Some secrets are encrypted with an older key; that is put right.")
        elif ring.path is not None:
            new_key(actor, timezone.now())
            self.stdout.write(f"A new key is first in {ring.path}; running processes use it now.")
        else:
            raise CommandError(
                "Everything is encrypted with the first of ENCRYPTION_KEYS already. To change the "
                "key: put a new one (`make key` prints one) in front of the old ones in "
                "ENCRYPTION_KEYS, restart all web and worker processes, and run this again."
            )
        count = reseal_all(actor)
        self.stdout.write(f"{count.seen} stored secrets, {count.resealed} encrypted again.")
        if count.lost:
            raise CommandError(
                f"{count.lost} cannot be opened with any key of this server. Their accounts have "
                "to be signed in again, or the key they need put back behind the others."
            )
        if len(ring.newest_first()) > 1:
            self.stdout.write(
                "The old key is still known. When nothing needs it, forget it: "
                + (
                    "`manage.py rotate_keys --drop-old`, in five minutes at the earliest."
                    if ring.path is not None
                    else "take it out of ENCRYPTION_KEYS and restart."
                )
                + " A restore of an earlier backup needs it."
            )

    def _drop_old(self) -> None:
        if settings.KEY_RING.path is None:
            if is_under_way():
                raise CommandError("An old key is still needed: run `manage.py rotate_keys`.")
            self.stdout.write(
                "Nothing needs an old key: take all but the first out of ENCRYPTION_KEYS, restart."
            )
            return
        try:
            dropped = drop_old(operator(), timezone.now())
        except RotationError as reason:
            raise CommandError(str(reason)) from reason
        self.stdout.write(f"{dropped} old key(s) forgotten." if dropped else "No old key is known.")
