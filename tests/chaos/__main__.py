"""Run the machine: `make chaos`, or `python -m tests.chaos --help`."""

import argparse
import os
import secrets
import sys
from contextlib import nullcontext
from dataclasses import replace

import django

from tests.chaos.broken import BREAKS
from tests.support import services


def main() -> int:
    """Print what a run survived; 1 when a law was broken."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--installs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=1, choices=range(1, 5), help="on PostgreSQL")
    parser.add_argument("--least", type=int, default=0, help="harms of any kind, at least")
    parser.add_argument("--harms", default="", help="only these, with commas: see enemy.py")
    parser.add_argument("--rolling", action="store_true", help="upgrade two hosts, harm nothing")
    parser.add_argument("--old", default="", help="commit to upgrade from, else the newest fit")
    parser.add_argument("--homes", type=int, default=12)
    parser.add_argument("--hubs", type=int, default=8, help="of each home")
    parser.add_argument("--pause", type=float, default=1.2, help="mean seconds between two harms")
    parser.add_argument("--pace", type=float, default=60, help="how much faster the cloud lives")
    parser.add_argument("--planned", type=float, default=0.5, help="share of the installs")
    parser.add_argument("--limit", type=float, default=3600, help="seconds")
    parser.add_argument("--seed", default="")
    parser.add_argument("--postgres", action="store_true", help="a fresh database on the server")
    parser.add_argument("--broken", choices=sorted(BREAKS), default="")
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.chaos import rolling  # needs the models
    from tests.chaos.machine import Run, play

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
        planned=chosen.planned,
        hosts=2 if chosen.rolling else chosen.hosts,
        harms=chosen.least,
        only_harms=tuple(filter(None, chosen.harms.split(","))),
    )
    if chosen.rolling:
        try:
            old = chosen.old or rolling.older_version()
        except rolling.NoHistory as problem:
            print(f"Left out: a rolling upgrade needs the history of this repository ({problem}).")
            return 1 if services.IS_CI else 0
    is_postgres = chosen.postgres or run.hosts > 1
    with services.fresh_database() if is_postgres else nullcontext("") as database_url:
        run = replace(run, database_url=database_url)
        result = rolling.play(run, old) if chosen.rolling else play(run)
    print(result.report())
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
