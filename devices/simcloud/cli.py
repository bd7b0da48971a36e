"""The command line, shared by `python -m devices.simcloud` and `manage.py simcloud`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import resource
import signal
import sys
from pathlib import Path

from devices.simcloud import (
    routes_groups,
    routes_nodes,
    routes_ota,
    routes_session,
    routes_sharing,
    scenarios,
)
from devices.simcloud.app import App, Routes
from devices.simcloud.clock import Clock
from devices.simcloud.server import Server
from devices.simcloud.store import BadStateFile, Store
from devices.simcloud.world import DEFAULT_PEOPLE, Person, Setup, World

DESCRIPTION = (
    "A pretend ESP RainMaker cloud with virtual Thermacell LIV hubs, for trying things out "
    "without touching a real hub. Point the cloud address of an account at it."
)


class CannotStart(Exception):
    """One sentence for the person who started it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    only = DEFAULT_PEOPLE[0]
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8900, help="port; 0 picks one (%(default)s)")
    parser.add_argument("--hubs", type=_count, default=8, help="virtual hubs (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same world")
    parser.add_argument(
        "--user",
        type=_person,
        action="append",
        metavar="EMAIL:PASSWORD[:N]",
        help="an account, repeatable. Those with N get the first N hubs left, in order; the rest "
        f"go round the others. Default: {only.email}:{only.password}",
    )
    parser.add_argument(
        "--offers", type=_share, default=0.4, help="share of hubs with an update (%(default)s)"
    )
    parser.add_argument("--latency-ms", type=_amount, default=0.0, help="added to each answer")
    parser.add_argument(
        "--speed", type=_rate, default=1.0, help="how much faster hubs live (%(default)s)"
    )
    parser.add_argument(
        "--token-life-s", type=_rate, default=3600.0, help="of an access token (%(default)s)"
    )
    parser.add_argument(
        "--dialect",
        choices=("real", "documented"),
        default="real",
        help="of ota_status: the real cloud's words and milliseconds, or those of the API "
        "write-up (initiated, in_progress, seconds)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep the world in FILE across restarts; hubs, seed, users and offers are then taken "
        "from an existing FILE",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        type=_scenario,
        metavar="HUB=NAME[:key=value,...]",
        help="what a hub (node id, index or name) does during an install, repeatable: "
        + ", ".join(scenarios.CATALOGUE),
    )


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError("write a whole number, 0 or more")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("write a number") from error
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError("write a number, 0 or more")
    return value


def _rate(text: str) -> float:
    value = _amount(text)
    if value == 0:
        raise argparse.ArgumentTypeError("write a number above 0")
    return value


def _share(text: str) -> float:
    value = _amount(text)
    if value > 1:
        raise argparse.ArgumentTypeError("write a share from 0 to 1")
    return value


def _person(text: str) -> Person:
    email, colon, rest = text.partition(":")
    password, _, number = rest.rpartition(":")
    if not (password and number.isdigit()):
        password, number = rest, ""
    if not (colon and password and "@" in email):
        raise argparse.ArgumentTypeError("write EMAIL:PASSWORD or EMAIL:PASSWORD:N")
    return Person(email.lower(), password, int(number) if number else None)


def _scenario(text: str) -> tuple[str, scenarios.Scenario]:
    hub, equals, name = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("write HUB=NAME")
    try:
        return hub, scenarios.parse(name)
    except scenarios.UnknownScenario as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def build(options: argparse.Namespace) -> App:
    """The application these options ask for. Raises CannotStart."""
    people = tuple(options.user or DEFAULT_PEOPLE)
    setup = Setup(options.hubs, options.seed, options.offers, people)
    store, clock = None, Clock(options.speed)
    if options.state:
        try:
            store = Store(options.state)
            setup = store.saved_setup() or setup
            store.restore_clock(clock)
        except (BadStateFile, ValueError, TypeError, KeyError) as error:
            raise CannotStart(f"Cannot use the state file {options.state}: {error}") from error
    world = World(setup, clock, token_life_s=options.token_life_s, dialect=options.dialect)
    if store:
        store.restore(world)
    for name, scenario in options.scenario:
        hub = world.find_hub(name)
        if hub is None:
            raise CannotStart(f"There is no hub {name!r} to play {scenario.name}.")
        world.play(hub, scenario)
    routes = Routes()
    for module in (routes_session, routes_nodes, routes_sharing, routes_groups, routes_ota):
        module.add(routes)
    app = App(world, routes, store)
    app.save()
    return app


def run(options: argparse.Namespace) -> int:
    """Serve until a signal stops it; the exit code."""
    try:
        return asyncio.run(_serve(options))
    except CannotStart as error:
        sys.stderr.write(f"simcloud: {error}\n")
        return 1


async def _serve(options: argparse.Namespace) -> int:
    _allow_many_connections()
    app = build(options)
    server = Server(app, latency_s=options.latency_ms / 1000)
    try:
        port = await server.listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "something else is using it" if taken else str(error)
        raise CannotStart(f"Cannot listen on {options.host}:{options.port}: {why}.") from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = f"[{options.host}]" if ":" in options.host else options.host
    people = ", ".join(app.world.accounts)
    sys.stdout.write(
        f"Simulated cloud listening on http://{host}:{port} "
        f"({len(app.world.hubs)} hubs; accounts: {people})\n"
    )
    sys.stdout.flush()
    await stop.wait()
    await server.close()
    app.save()
    if app.store:
        app.store.close()
    return 0


def _allow_many_connections() -> None:
    """Raise the limit of open files to what this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devices.simcloud", description=DESCRIPTION)
    add_arguments(parser)
    return run(parser.parse_args())
