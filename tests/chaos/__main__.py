"""Run the machine: `make chaos`, or `python -m tests.chaos --help`."""

import argparse
import os
import secrets
import sys
from contextlib import nullcontext
from dataclasses import replace

import django

from tests import services
from tests.chaos.broken import BREAKS


def main() -> int:
    """Print what a run survived; 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--installs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--homes", type=int, default=12)
    parser.add_argument("--hubs", type=int, default=8, help="of each home")
    parser.add_argument("--pause", type=float, default=1.2, help="mean seconds between two harms")
    parser.add_argument("--pace", type=float, default=60, help="how much faster the cloud lives")
    parser.add_argument("--limit", type=float, default=3600, help="seconds")
    parser.add_argument("--seed", default="")
    parser.add_argument("--postgres", action="store_true", help="a fresh database on the server")
    parser.add_argument("--broken", choices=sorted(BREAKS), default="")
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.chaos.machine import Run, play  # needs the models

    run = Run(
        seed=chosen.seed or secrets.token_hex(4),
        installs=chosen.installs,
        kills=chosen.kills,
        homes=chosen.homes,
        hubs=chosen.hubs,
        pause_s=chosen.pause,
        pace=chosen.pace,
        limit_s=chosen.limit,
        broken=chosen.broken,
    )
    with services.fresh_database() if chosen.postgres else nullcontext("") as database_url:
        result = play(replace(run, database_url=database_url))
    print(result.report())
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
