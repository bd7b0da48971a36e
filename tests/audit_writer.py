"""A process that writes audit rows as fast as it can: `python -m tests.audit_writer NAME ROWS`.

Two threads, each with a connection of its own. Some rows are written by themselves, some in a
transaction with others, some in one that is then given up.
"""

import os
import sys
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "thermacell_web.settings")


class GivenUp(Exception):
    pass


def write(name: str, rows: int) -> None:
    from django.db import connection, transaction

    from devices.models import Actor, Household, audit

    actor = Actor(name=name, role="owner")
    for n in range(rows):
        try:
            with transaction.atomic():
                audit.lock()
                Household.objects.filter(pk=1).update(name=f"{name} {n}")
                audit.record(actor, "test.deed", f"Deed {n}.", detail={"n": n})
                if n % 5 == 0:
                    raise GivenUp
        except GivenUp:
            audit.record(actor, "test.deed", f"Deed {n}.", detail={"n": n})
    connection.close()


def main() -> None:
    django.setup()
    name, rows = sys.argv[1], int(sys.argv[2])
    threads = [threading.Thread(target=write, args=(f"{name}-{n}", rows)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
