"""Writes audit rows as fast as it can: `python -m tests.support.audit_writer NAME ROWS`.

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
    from django.db import connection

    from devices.audit import log as audit_log
    from devices.models import Actor, AuditAction, Household

    actor = Actor(name=name, role="owner")
    for n in range(rows):
        try:
            with audit_log.locked():
                Household.objects.filter(pk=1).update(name=f"{name} {n}")
                audit_log.record(actor, AuditAction.CHECK_ASKED, f"Event {n}.", detail={"n": n})
                if n % 5 == 0:
                    raise GivenUp
        except GivenUp:
            audit_log.record(actor, AuditAction.CHECK_ASKED, f"Event {n}.", detail={"n": n})
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
